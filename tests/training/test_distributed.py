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
  assert joined(monkeypatch, **step | {'SLURM_NTASKS': '2'})[1] == {
    'cluster_detection_method': 'slurm'
  }
  assert joined(monkeypatch, **step | {'SLURM_NTASKS': '1'}) is None


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
  with pytest.raises(ValueError, match=message):
    joined(monkeypatch, **environment)
