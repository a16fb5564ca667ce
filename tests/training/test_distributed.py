"""Two processes of four devices compute what one of eight does, and take over from each other."""

import json
import os
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.conftest import QUICK
from tests.training import two_processes
from tests.training.test_meshes import assert_same, one_device
from tests.training.tiny import ListLog
from videogpt_jax.errors import UserError
from videogpt_jax.training import distributed


def start_two(command, devices=4):
  """Starts two processes that find each other over loopback, with so many devices each."""
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{s.getsockname()[1]}'
  shared = {
    'XLA_FLAGS': f'{QUICK} --xla_force_host_platform_device_count={devices}',
    'JAX_PLATFORMS': 'cpu',
    'JAX_COORDINATOR_ADDRESS': address,
    'JAX_NUM_PROCESSES': '2',
  }
  return [
    subprocess.Popen(
      [sys.executable, '-m', *command],
      env=os.environ | shared | {'JAX_PROCESS_ID': str(i)},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]


@pytest.mark.slow
def test_two_processes_are_as_good_as_one(tmp_path):
  """The same gradients; the checkpoint of either goes on in the other with the same losses."""
  whole = two_processes.train(tmp_path / 'whole', ListLog())
  shutil.copytree(tmp_path / 'whole', tmp_path / 'begun_by_one')
  shutil.rmtree(tmp_path / 'begun_by_one' / '6')  # which leaves the checkpoint of step 4
  processes = start_two(['tests.training.two_processes', str(tmp_path)])
  for process in processes:
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors

  for name in ('vqvae', 'prior'):
    assert_same(dict(np.load(tmp_path / f'{name}.npz')), one_device(name))
  told = [json.loads((tmp_path / f'told{i}.json').read_text()) for i in range(2)]
  assert told[0] == told[1]
  resumed = two_processes.train(tmp_path / 'begun_by_two', ListLog())
  assert list(resumed.losses) == [5, 6]
  for losses in (told[0]['begun'], told[0]['resumed'], resumed.losses):
    for step, loss in losses.items():
      assert loss == pytest.approx(whole.losses[int(step)], rel=1e-5)
  assert list(told[0]['resumed']) == ['5', '6']
  assert told[0]['scores'] == pytest.approx(whole.scored[6], rel=1e-5)


def joined(monkeypatch, **environment):
  """What `start` would join with these variables set, or None."""
  calls = []
  for name in (*distributed.SLURM, 'JAX_PROCESS_ID', 'JOB_COMPLETION_INDEX'):
    monkeypatch.delenv(name, raising=False)
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  monkeypatch.setattr(jax.distributed, 'initialize', lambda *a, **k: calls.append((a, k)))
  distributed.start()
  return calls[0] if calls else None


def test_without_an_environment_the_run_is_one_process(monkeypatch):
  assert joined(monkeypatch) is None
  assert joined(monkeypatch, JAX_PLATFORMS='cpu') is None


def test_variables_name_the_processes(monkeypatch):
  named = {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '4'}
  assert joined(monkeypatch, **named, JAX_PROCESS_ID='3')[0] == ('a:1', 4, 3)
  assert joined(monkeypatch, **named, JOB_COMPLETION_INDEX='2')[0] == ('a:1', 4, 2)


def test_slurm_names_them_to_jax(monkeypatch):
  step = dict.fromkeys(distributed.SLURM, '0')
  told = joined(monkeypatch, **step | {'SLURM_NTASKS': '2'})[1]
  assert told['cluster_detection_method'] == 'slurm' and told['local_device_ids'] is None
  assert joined(monkeypatch, **step | {'SLURM_NTASKS': '1'}) is None


@pytest.mark.parametrize(
  ('environment', 'gpus'),
  [
    # One task a node takes all GPUs; JAX alone would take the first.
    ({'SLURM_STEP_TASKS_PER_NODE': '1(x2)', 'SLURM_GPUS_ON_NODE': '4'}, [0, 1, 2, 3]),
    ({'SLURM_STEP_TASKS_PER_NODE': '4(x2)', 'SLURM_GPUS_ON_NODE': '4', 'SLURM_LOCALID': '2'}, [2]),
    (
      {'SLURM_STEP_TASKS_PER_NODE': '2', 'SLURM_GPUS_ON_NODE': '8', 'SLURM_LOCALID': '1'},
      [4, 5, 6, 7],
    ),
    # What a task sees is its own.
    (
      {'SLURM_STEP_TASKS_PER_NODE': '4', 'SLURM_GPUS_PER_TASK': '2', 'CUDA_VISIBLE_DEVICES': '0,1'},
      [0, 1],
    ),
    (
      {'SLURM_STEP_TASKS_PER_NODE': '2(x1),1', 'SLURM_NODEID': '1', 'CUDA_VISIBLE_DEVICES': '3,5'},
      [0, 1],
    ),
    ({'SLURM_STEP_TASKS_PER_NODE': '3', 'SLURM_GPUS_ON_NODE': '8'}, None),
  ],
)
def test_tasks_of_slurm_use_all_gpus_or_refuse(environment, gpus, monkeypatch):
  for name in ('CUDA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES', 'SLURM_GPUS_PER_TASK'):
    monkeypatch.delenv(name, raising=False)
  step = dict.fromkeys(distributed.SLURM, '0') | {'SLURM_NTASKS': '4', 'SLURM_NODEID': '0'}
  if gpus is None:
    with pytest.raises(UserError, match=r'the 3 tasks of a node do not divide its 8 GPUs; use'):
      joined(monkeypatch, **step | environment)
  else:
    assert joined(monkeypatch, **step | environment)[1]['local_device_ids'] == gpus


@pytest.mark.parametrize(
  ('environment', 'message'),
  [
    ({'JAX_NUM_PROCESSES': '2'}, 'missing: JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID'),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '0'},
      'must be host:port, such as a:8476',
    ),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '2'},
      r'JAX_PROCESS_ID \(2\) must be a number in \[0, JAX_NUM_PROCESSES \(2\)\)',
    ),
  ],
)
def test_incomplete_variables_are_refused(environment, message, monkeypatch):
  with pytest.raises(UserError, match=message):
    joined(monkeypatch, **environment)


def test_a_port_that_process_0_cannot_listen_on_is_refused(monkeypatch):
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    s.listen()
    named = {'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{(port := s.getsockname()[1])}'}
    with pytest.raises(UserError, match=f'cannot listen on port {port} .* choose a free one'):
      joined(monkeypatch, **named, JAX_NUM_PROCESSES='2', JAX_PROCESS_ID='0')
    assert joined(monkeypatch, **named, JAX_NUM_PROCESSES='2', JAX_PROCESS_ID='1')


def test_others_that_cannot_be_joined_are_a_users_matter_and_a_wrong_call_is_ours(monkeypatch):
  named = {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '1'}

  def start(error):
    def fail(*args, **kwargs):
      raise error

    for name, value in named.items():
      monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax.distributed, 'initialize', fail)
    distributed.start()

  with pytest.raises(UserError, match='cannot join the other processes of this run: DEADLINE'):
    start(jax.errors.JaxRuntimeError('DEADLINE_EXCEEDED: barrier'))
  with pytest.raises(RuntimeError, match='only be called once') as found:
    start(RuntimeError('distributed.initialize should only be called once.'))
  assert not isinstance(found.value, UserError)


@pytest.mark.parametrize(
  ('environment', 'count'),
  [
    ({'TPU_WORKER_HOSTNAMES': 'a,b,c,d'}, 4),
    ({'TPU_WORKER_HOSTNAMES': 'a', 'MEGASCALE_NUM_SLICES': '2'}, 2),
    ({'TPU_WORKER_HOSTNAMES': 'a,b', 'MEGASCALE_NUM_SLICES': '2'}, 4),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, 1),
    ({}, 1),
  ],
)
def test_a_program_of_one_process_refuses_a_tpu_slice_of_several_hosts(
  environment, count, monkeypatch
):
  for name in (*distributed.SLURM, distributed.TPU_HOSTS, distributed.TPU_SLICES):
    monkeypatch.delenv(name, raising=False)
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  for on_tpu in (True, False):
    monkeypatch.setattr(distributed, '_on_tpu', lambda on_tpu=on_tpu: on_tpu)
    if on_tpu and count > 1:
      with pytest.raises(UserError, match=rf'one host, .* names {count}; .*JAX_PLATFORMS=cpu'):
        distributed.refuse_others('sample')
    else:
      distributed.refuse_others('sample')
