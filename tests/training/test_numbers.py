"""Losses that are no numbers: steps are skipped, training goes back, and in the end says so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training import pair
from tests.training.tiny import ListLog, batch, data, leaves, make_stage
from videogpt_jax.errors import UserError
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit, prepare
from videogpt_jax.training.numbers import DivergedError
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh, shard_batch
from videogpt_jax.training.step import Stage, Update, init_state, make_train_step

CONFIG = TrainingConfig(
  steps=6,
  batch_size=8,
  optimizer=OptimizerConfig(learning_rate=1e-2, schedule='constant', ema_decay=0.9),
  log_every=1,
  evaluate_every=2,
  evaluate_batches=1,
  checkpoint_every=2,
)


def spoilt(clips):
  """The batch with a NaN in its last clip."""
  video = clips['video'].copy()
  video[-1, 0, 0, 0, 0] = np.nan
  return {**clips, 'video': video}


def with_nan(steps):
  """Data whose batches of these steps have a NaN."""
  given = data()

  def train(start):
    for step, clips in enumerate(given.train(start), start + 1):
      yield spoilt(clips) if step in steps else clips

  return dataclasses.replace(given, train=train)


def train(folder, stage, clips, config=CONFIG, log=None):
  mesh, log = make_mesh(MeshConfig(), jax.devices()[:1]), log or ListLog('generator/loss')
  with Checkpoints(folder, config.keep) as checkpoints:
    return fit(stage, config, clips, mesh, checkpoints, log), log


@pytest.mark.parametrize(
  ('stage', 'accumulated'),
  [
    pytest.param(make_stage('vqvae'), 1, marks=pytest.mark.slow),
    (pair.make_stage(), 1),
    (pair.make_stage(), 2),
  ],
)
def test_a_step_that_is_not_finite_moves_nothing_but_its_number(stage, accumulated):
  before = init_state(stage, CONFIG.optimizer, 6, jax.random.key(1))
  step = jax.jit(make_train_step(stage, CONFIG.optimizer, 6, accumulated))
  after, metrics = step(before, None, spoilt(batch(0)), jax.random.key(4))
  assert bool(metrics['skipped']) and int(after.step) == 1
  for a, b in zip(leaves(before)[1:], leaves(after)[1:], strict=True):
    np.testing.assert_array_equal(a, b)
  after, metrics = step(before, None, batch(0), jax.random.key(4))
  assert not bool(metrics['skipped'])
  pairs = zip(leaves(before.params), leaves(after.params), strict=True)
  assert any((a != b).any() for a, b in pairs)


def test_on_a_mesh_all_devices_skip(tmp_path):
  mesh = make_mesh(MeshConfig(data=2, fsdp=4))
  with Checkpoints(tmp_path) as checkpoints:
    state, step = prepare(pair.make_stage(), CONFIG, mesh, checkpoints, jax.random.key(0))
  before = leaves(state.params)
  state, metrics = step(state, None, shard_batch(spoilt(batch(0)), mesh), jax.random.key(4))
  assert bool(metrics['skipped'])
  for a, b in zip(before, leaves(state.params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_skipped_step_is_counted_and_told(tmp_path):
  skipped, log = {}, ListLog()
  log.progress = lambda step, metrics: skipped.update({step: metrics['skipped_steps']})
  train(tmp_path, pair.make_stage(), with_nan({3}), log=log)
  assert skipped == {1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 6: 1}
  assert log.warnings == ['pair: step 3 is skipped, its loss or gradient is not finite']


def test_twenty_in_a_row_go_back_to_the_good_checkpoint_and_then_end_with_a_report(tmp_path):
  config = dataclasses.replace(CONFIG, steps=40, max_returns=2, checkpoint_every=5)
  log = ListLog('generator/loss')
  with pytest.raises(DivergedError, match=rf'20 steps in a row .* step 26 .* {tmp_path}/5; '):
    train(tmp_path, pair.make_stage(), with_nan(set(range(7, 40))), config, log)
  told = [line for line in log.warnings if 'going back' in line]
  assert [line.split(' with ')[1] for line in told] == [
    '0.5 times the learning rate',
    '0.25 times the learning rate',
  ]


def test_the_smaller_rate_outlives_an_interruption(tmp_path):
  """The bad batches come once: after going back they are good."""
  times, given = [], data()

  def once(start):
    times.append(start)
    return (with_nan(range(3, 9)) if len(times) == 1 else given).train(start)

  config = dataclasses.replace(CONFIG, steps=8, max_skipped=3)
  train(tmp_path, pair.make_stage(), dataclasses.replace(given, train=once), config)
  assert times == [0, 2]
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.rate_scale == 0.5 and checkpoints.latest_step() == 8


class Number(nnx.Module):
  """One number, whose loss overflows far from zero."""

  def __init__(self, rngs):
    self.w = nnx.Param(jnp.full((1,), 0.5))


def test_debug_nans_ends_at_the_operation(tmp_path):
  """With the loss's own line in the traceback, which a skipped step does not give."""
  with jax.debug_nans(True), pytest.raises(FloatingPointError, match='nan') as found:
    train(tmp_path, pair.make_stage(pair.GENERATOR), with_nan({3}), log=ListLog())
  files = {str(frame.path) for frame in found.traceback}
  assert any(file.endswith('tests/training/pair.py') for file in files)


def test_far_too_high_a_rate_ends_with_a_checkpoint_from_which_a_smaller_one_goes_on(tmp_path):
  loss = lambda number: jnp.cosh(number.w[...]).sum()
  stage = Stage(
    'number',
    Number,
    (Update('number', lambda number, frozen, batch, key: (loss(number), {})),),
    evaluate=lambda number, frozen, batch: {'loss': batch['mask'] * 0 + loss(number)},
    summarise=lambda means, n: {'loss': float(means['loss'])},
    show=lambda number, frozen, batch: {},
  )
  high = dataclasses.replace(CONFIG.optimizer, learning_rate=1e4)
  wild = dataclasses.replace(CONFIG, optimizer=high, max_returns=1)
  message = rf'evaluation after step 2 .* is {tmp_path}/0; .* smaller learning_rate, which goes on'
  with pytest.raises(DivergedError, match=message):
    train(tmp_path, stage, data(), wild, ListLog())
  calm = dataclasses.replace(wild, optimizer=CONFIG.optimizer)
  state, log = train(tmp_path, stage, data(), calm, ListLog())
  assert int(state.step) == 6 and 1 < log.losses[6] < log.losses[1] < 1.2


def test_the_last_good_checkpoint_is_kept_beside_the_newest(tmp_path):
  stage = pair.make_stage()
  first = init_state(stage, CONFIG.optimizer, 6, jax.random.key(1))
  at = lambda step: dataclasses.replace(first, step=jax.numpy.asarray(step, jax.numpy.int32))
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(at(1))
    for step in (2, 3):
      checkpoints.save(at(step), good=False)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['1', '3']
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.forget_after_good()
    assert checkpoints.latest_step() == 1


@pytest.mark.parametrize('wrong', [{'keep': 0}, {'max_skipped': 0}, {'slow_down': 1.0}])
def test_impossible_settings_are_refused(wrong):
  with pytest.raises(UserError, match=next(iter(wrong))):
    TrainingConfig(**wrong)
