"""Where the time of a training went: each second belongs to one part, and lost steps are told."""

import json
import time

import jax
import pytest
from etils.epath import Path

from tests.training import pair
from tests.training.tiny import ListLog, Stop, StoppedError, data
from videogpt_jax.errors import UserError
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.clock import PARTS, Clock, batches
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit
from videogpt_jax.training.logging import RunLog
from videogpt_jax.training.sharding import MeshConfig, make_mesh


class Hand:
  """A clock's hand that is moved by the test."""

  def __init__(self):
    self.at = 100.0

  def __call__(self):
    return self.at


def nonzero(seconds):
  return {part: n for part, n in seconds.items() if n}


def test_each_second_belongs_to_one_part():
  hand = Hand()
  clock = Clock(reached=1, now=hand)
  clock.of_step(1)
  hand.at += 3
  with clock.during('evaluation'):
    hand.at += 5
    with clock.during('saving'):
      hand.at += 7
    hand.at += 11
  hand.at += 13
  clock.of_step(2)
  hand.at += 17
  assert clock.phase == ('steps', 100 + 39)
  assert nonzero(clock.take()) == {'redone': 16, 'evaluation': 16, 'saving': 7, 'steps': 17}
  hand.at += 1
  assert nonzero(clock.take()) == {'steps': 1}
  clock.of_step(2)  # after going back
  hand.at += 2
  assert nonzero(clock.take()) == {'redone': 2}


def test_compiling_is_its_own_part_wherever_it_happens_and_counted_once():
  hand = Hand()
  tell = jax.monitoring.record_event_duration_secs
  with Clock(now=hand) as clock, clock.during('evaluation'):
    hand.at += 10
    tell('/jax/core/compile/backend_compile_duration', 2.0)
    tell('/jax/core/compile/jaxpr_trace_duration', 4.0)  # the one before is inside it
    tell('/jax/something_else', 4.0)
    hand.at += 1
  assert nonzero(clock.take()) == {'compile': 4, 'evaluation': 7}
  tell('/jax/core/compile/backend_compile_duration', 2.0)  # no longer listening
  assert not nonzero(clock.take())


def test_jax_tells_of_what_it_compiles():
  with Clock() as clock:
    clock.of_step(1)
    before = time.monotonic()
    jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y @ y, x))(jax.numpy.ones((5, 5)))
    whole = time.monotonic() - before
  seconds = clock.take()
  assert 0.3 * whole < seconds['compile'] <= whole


def test_waiting_for_clips_is_counted():
  hand = Hand()
  clock = Clock(now=hand)

  def slow():
    for i in range(3):
      hand.at += 2
      yield i

  assert list(batches(clock, slow())) == [0, 1, 2]
  assert nonzero(clock.take()) == {'data': 6}


CONFIG = TrainingConfig(
  steps=6, batch_size=8, log_every=1, evaluate_every=3, evaluate_batches=1, checkpoint_every=2
)


def train(folder, log):
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  with Checkpoints(folder) as checkpoints:
    fit(pair.make_stage(), CONFIG, data(), mesh, checkpoints, log)
  return log


def test_a_training_tells_all_of_its_time_and_what_it_did_anew(tmp_path):
  stopped = Stop(5, 'generator/loss')
  with pytest.raises(StoppedError):
    train(tmp_path, stopped)
  assert not stopped.ended and stopped.seconds['redone'] == 0
  log = ListLog('generator/loss')
  log.reached = 5  # from the checkpoint of step 4: one step is done anew
  before = time.monotonic()
  train(tmp_path, log)
  whole = time.monotonic() - before
  assert log.ended and set(log.seconds) == set(PARTS)
  assert all(log.seconds[part] > 0 for part in PARTS)
  assert 0.8 * whole < sum(log.seconds.values()) <= whole


def test_the_times_of_all_runs_are_added_up_and_told_at_the_end(tmp_path, capsys):
  parts = dict.fromkeys(PARTS, 0.0)
  for ended in (False, True):
    with RunLog('vqvae', 10, Path(tmp_path)) as log:
      assert log.reached == (7 if ended else 0)
      log.times(7, parts | {'steps': 30.0, 'data': 10.0}, ended)
  assert capsys.readouterr().out.splitlines() == [
    'vqvae  time: steps 75.0%, data 25.0%, compile 0.0%, evaluation 0.0%, saving 0.0%, '
    'redone 0.0% of 1:20'
  ]
  assert json.loads((tmp_path / 'metrics.json').read_text()) == {'vqvae_goodput': 0.75}
  (tmp_path / 'vqvae' / 'times.json').write_text('{"reached": "seven"}')
  with pytest.raises(UserError, match=r'times\.json is broken; delete it'):
    RunLog('vqvae', 10, Path(tmp_path))
