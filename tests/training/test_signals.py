"""SIGTERM and SIGINT: in steps, evaluations and whatever else; once, and twice."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.training import pair
from tests.training.tiny import ListLog, data, leaves
from videogpt_jax.training import distributed
from videogpt_jax.training.checkpoint import Checkpoints, is_scored, latest_step
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.distributed import PreemptedError
from videogpt_jax.training.fit import fit
from videogpt_jax.training.sharding import MeshConfig, make_mesh

CONFIG = TrainingConfig(
  steps=6, batch_size=8, log_every=1, evaluate_every=3, evaluate_batches=2, checkpoint_every=100
)


def train(folder, clips=None):
  mesh, log = make_mesh(MeshConfig(), jax.devices()[:1]), ListLog('generator/loss')
  with Checkpoints(folder) as checkpoints:
    return fit(pair.make_stage(), CONFIG, clips or data(), mesh, checkpoints, log), log


def signalled_in_evaluation(number, which):
  """Data during whose so-manieth evaluation a signal comes, after the first batch."""
  given, count = data(), []

  def test():
    count.append(1)
    for i, batch in enumerate(given.test()):
      if i == 1 and len(count) == which:
        os.kill(os.getpid(), number)
      yield batch

  return dataclasses.replace(given, test=test)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  return train(tmp_path_factory.mktemp('whole'))


@pytest.mark.parametrize(
  ('number', 'which', 'step'),
  [(signal.SIGTERM, 2, 6), (signal.SIGINT, 2, 6), (signal.SIGINT, 1, 3)],
)
def test_a_signal_in_an_evaluation_is_not_lost_and_what_was_cut_short_is_done_later(
  number, which, step, tmp_path, whole
):
  handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  with pytest.raises(PreemptedError, match=f'at step {step}; ') as stopped:
    train(tmp_path, signalled_in_evaluation(number, which))
  assert stopped.value.status == {signal.SIGTERM: 75, signal.SIGINT: 130}[number]
  assert handlers == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  assert latest_step(tmp_path) == step and not is_scored(tmp_path)
  state, log = train(tmp_path)
  assert list(log.losses) == list(range(step + 1, 7))
  assert log.scored[6] == whole[1].scored[6]
  for a, b in zip(leaves(state), leaves(whole[0]), strict=True):
    np.testing.assert_array_equal(a, b)
  assert is_scored(tmp_path)
  assert not train(tmp_path)[1].scored  # nothing is left to do


PROGRAM = """
import os, sys, time
import jax
from videogpt_jax.training.distributed import PreemptedError
from videogpt_jax.training.signals import Signals
try:
  with Signals(saves=sys.argv[1] == 'saves') as signals:
    print('up', flush=True)
    {body}
except PreemptedError as stopped:
  print(stopped, file=sys.stderr)
  sys.exit(stopped.status)
"""

WAITS = """
    while not signals.arrived():
      time.sleep(0.01)
    raise PreemptedError(7, signals.number)"""

IN_COMPILED_CODE = """
    loop = jax.jit(lambda n: jax.lax.fori_loop(0, n, lambda i, x: x * 3 % 7, 1))
    loop(10**12).block_until_ready()"""

SWALLOWS = """
    while True:
      try:
        time.sleep(0.01)
      except BaseException:
        pass"""


def start(kind, body):
  process = subprocess.Popen(
    [sys.executable, '-c', PROGRAM.format(body=body.strip()), kind],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {'JAX_ENABLE_X64': '1'},
  )
  assert process.stdout.readline() == 'up\n'
  time.sleep(1)
  return process


def end_of(process):
  before = time.monotonic()
  _, told = process.communicate(timeout=30)
  return process.returncode, told, time.monotonic() - before


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_one_signal_is_noted_where_there_is_something_to_save_and_a_second_one_ends(number, status):
  process = start('saves', WAITS)
  process.send_signal(number)
  code, told, _ = end_of(process)
  assert code == status and 'a second signal ends at once' in told and 'at step 7' in told
  process = start('saves', IN_COMPILED_CODE)
  process.send_signal(number)
  time.sleep(0.5)
  assert process.poll() is None
  process.send_signal(number)
  code, told, seconds = end_of(process)
  assert code == status and 'at step' not in told and seconds < 3


@pytest.mark.parametrize('body', [IN_COMPILED_CODE, SWALLOWS, 'time.sleep(60)'])
def test_elsewhere_one_signal_ends_the_run_within_seconds(body):
  process = start('ends', body)
  process.send_signal(signal.SIGTERM)
  code, told, seconds = end_of(process)
  assert code == distributed.EXIT_PREEMPTED and seconds < 5
  assert told.splitlines()[-1] == 'stopped for a preemption; the same command goes on from there'
