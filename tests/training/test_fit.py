"""The loop: learning, resuming, and several devices."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training import pair
from tests.training.test_checkpoint import assert_equal
from tests.training.tiny import ListLog, Stop, StoppedError, batch, data, leaves, make_stage
from videogpt_jax.errors import UserError
from videogpt_jax.training.checkpoint import Checkpoints, latest_step, restore_model
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.distributed import PreemptedError
from videogpt_jax.training.fit import fit
from videogpt_jax.training.interfaces import Data
from videogpt_jax.training.milestones import evaluate
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh
from videogpt_jax.training.step import (
  Stage,
  Update,
  init_state,
  make_evaluate_step,
  make_train_step,
)

CONFIG = TrainingConfig(
  steps=6,
  batch_size=8,
  optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2, ema_decay=0.9),
  log_every=1,
  evaluate_every=3,
  evaluate_batches=1,
  checkpoint_every=2,
)


def train(folder, name, config=CONFIG, dtype='float32'):
  return train_stage(folder, make_stage(name, dtype), config, data())


def train_stage(folder, stage, config, clips):
  log, mesh = ListLog(), make_mesh(MeshConfig(), jax.devices()[:1])
  with Checkpoints(folder) as checkpoints:
    state = fit(stage, config, clips, mesh, checkpoints, log)
  return state, log


class Pair(nnx.Module):
  """Two numbers."""

  def __init__(self, rngs):
    self.w = nnx.Param(jax.random.normal(rngs.params(), (2,)))


def test_the_model_with_the_lowest_held_out_loss_is_kept_across_interruptions(tmp_path):
  losses = iter([0.5, 0.3, 0.4, 0.3, 0.2, 0.9])
  stage = Stage(
    'pair',
    Pair,
    (Update('pair', lambda pair, frozen, batch, key: (jnp.square(pair.w[...]).sum(), {})),),
    evaluate=lambda pair, frozen, batch: {'loss': batch['label']},
    summarise=lambda means, n: {'loss': next(losses)},
    show=lambda pair, frozen, batch: {},
    held_out_loss='loss',
  )
  mesh, kept, found = make_mesh(MeshConfig(), jax.devices()[:1]), [], {}
  for steps in (2, 4, 6):
    config = dataclasses.replace(CONFIG, steps=steps, evaluate_every=1)
    with (
      Checkpoints(tmp_path / 'all') as checkpoints,
      Checkpoints(tmp_path / 'best', keep=1) as best,
    ):
      state = fit(stage, config, data(), mesh, checkpoints, ListLog(), best=best)
      kept.append(best.loss)
    found[steps] = latest_step(tmp_path / 'best')
  assert kept == [0.3, 0.3, 0.2] and found == {2: 2, 4: 2, 6: 5}
  best_params, _ = restore_model(tmp_path / 'best', *stage.abstract()[1:])
  assert (leaves(best_params)[0] != leaves(state.model[0])[0]).all()


@pytest.fixture(scope='module')
def trained_vqvae(tmp_path_factory):
  """A VQ-VAE after three steps, what was told, and a function that scores its states on clips."""
  config = dataclasses.replace(CONFIG, steps=3, evaluate_batches=-1)
  state, log = train(tmp_path_factory.mktemp('vqvae'), 'vqvae', config)
  stage, mesh = make_stage('vqvae'), make_mesh(MeshConfig(), jax.devices()[:1])
  step = jax.jit(make_evaluate_step(stage))
  score = lambda model, clips: evaluate(stage, step, model, None, clips.test(), mesh)[0]
  return state, log, score


@pytest.mark.parametrize('name', [pytest.param('vqvae', marks=pytest.mark.slow), 'prior'])
def test_an_interrupted_run_ends_as_one_that_was_not(name, tmp_path):
  whole, log = train(tmp_path / 'whole', name)

  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  with pytest.raises(StoppedError), Checkpoints(tmp_path / 'cut') as checkpoints:
    fit(make_stage(name), CONFIG, data(), mesh, checkpoints, Stop(5))
  resumed, rest = train(tmp_path / 'cut', name)
  assert set(rest.losses) == {5, 6}  # from the checkpoint of step 4
  assert {step: log.losses[step] for step in rest.losses} == rest.losses
  for a, b in zip(leaves(whole), leaves(resumed), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_run_that_is_preempted_saves_at_once_and_goes_on_from_there(tmp_path):
  class Preempt(ListLog):
    def progress(self, step, metrics):
      super().progress(step, metrics)
      if step == 2:
        os.kill(os.getpid(), signal.SIGTERM)

  before = signal.getsignal(signal.SIGTERM)
  _, whole = train(tmp_path / 'whole', 'prior')
  mesh, log = make_mesh(MeshConfig(), jax.devices()[:1]), Preempt()
  config = dataclasses.replace(CONFIG, checkpoint_every=100)
  with (
    pytest.raises(PreemptedError, match='step 3'),
    Checkpoints(tmp_path / 'cut') as checkpoints,
  ):
    fit(make_stage('prior'), config, data(), mesh, checkpoints, log)
  assert signal.getsignal(signal.SIGTERM) == before
  _, rest = train(tmp_path / 'cut', 'prior')
  assert set(log.losses) == {1, 2, 3}
  assert set(rest.losses) == {4, 5, 6}
  assert log.losses | rest.losses == whole.losses


def test_the_loss_falls_on_clips_that_repeat(tmp_path):
  config = dataclasses.replace(
    CONFIG, steps=60, optimizer=OptimizerConfig(learning_rate=3e-3), checkpoint_every=60
  )
  log = ListLog()
  repeated = dataclasses.replace(data(), train=lambda step: iter([batch(0)] * 60))
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  with Checkpoints(tmp_path) as checkpoints:
    fit(make_stage('prior'), config, repeated, mesh, checkpoints, log)
  assert log.losses[60] < 0.5 * log.losses[1]


def test_evaluation_counts_every_clip_once_whatever_the_padding(trained_vqvae):
  """Thirteen clips score the same in two batches of eight, three of them padding, and in one."""
  state, log, score = trained_vqvae
  assert log.scored[3]['codebook_usage'] > 0
  assert log.shown[3]['reconstructions'].shape == (8, 4, 16, 8, 3)
  assert log.scored[3] == pytest.approx(score(state.model, data(size=13)), rel=1e-5)


@pytest.mark.parametrize(('batches', 'seen'), [(1, 1), (2, 2), (-1, 3)])
def test_so_many_batches_are_evaluated_during_training_and_all_at_its_end(batches, seen, tmp_path):
  counts, given = [], data(n_test=20)

  def test():
    counts.append(0)
    for clips in given.test():
      counts[-1] += 1
      yield clips

  config = dataclasses.replace(CONFIG, steps=2, evaluate_every=1, evaluate_batches=batches)
  train_stage(tmp_path, pair.make_stage(pair.GENERATOR), config, Data(given.train, test))
  assert counts == [seen, 3]


@pytest.mark.parametrize('batches', [0, -2])
def test_an_evaluation_of_no_batches_is_refused(batches):
  message = rf'evaluate_batches \({batches}\) must be at least 1, or -1 for all held-out clips'
  with pytest.raises(UserError, match=message):
    TrainingConfig(evaluate_batches=batches)


def test_clips_of_bytes_train_and_score_as_floats_do(tmp_path):
  """They cross to the device as they are: the stage is what finds them in [-0.5, 0.5]."""
  given = data()
  to_bytes = lambda clips: {**clips, 'video': np.round((clips['video'] + 0.5) * 255).astype('u1')}
  to_floats = lambda clips: {**clips, 'video': clips['video'].astype(np.float32) / 255 - 0.5}
  as_bytes = Data(
    lambda step: map(to_bytes, given.train(step)), lambda: map(to_bytes, given.test())
  )
  as_floats = Data(
    lambda step: map(to_floats, as_bytes.train(step)), lambda: map(to_floats, as_bytes.test())
  )
  config = dataclasses.replace(CONFIG, steps=2, grad_accum_steps=2)
  stage = pair.make_stage(pair.GENERATOR)
  _, found = train_stage(tmp_path / 'bytes', stage, config, as_bytes)
  _, wanted = train_stage(tmp_path / 'floats', stage, config, as_floats)
  assert found.losses == pytest.approx(wanted.losses, rel=1e-6)
  assert found.scored[2] == pytest.approx(wanted.scored[2], abs=1e-6)
  assert wanted.shown[2]['clips'].min() < -0.4
  np.testing.assert_allclose(found.shown[2]['clips'], wanted.shown[2]['clips'], atol=1e-7)


def test_averaged_parameters_are_what_is_evaluated(trained_vqvae):
  """With the batch statistics that were averaged with them."""
  state, log, score = trained_vqvae
  assert log.scored[3] == pytest.approx(score((state.ema_params, state.ema_variables), data()))
  for others in ((state.params, state.variables), (state.ema_params, state.variables)):
    assert log.scored[3] != pytest.approx(score(others, data()))


def test_averages_are_of_parameters_and_batch_statistics():
  """Codebook and flags are the newest."""
  stage, key = make_stage('vqvae'), jax.random.key(0)
  state = init_state(stage, CONFIG.optimizer, 6, key)
  averaged = lambda state: (state.params, nnx.filter_state(state.variables, nnx.BatchStat))
  average = jax.tree.map(np.asarray, averaged(state))
  step = jax.jit(make_train_step(stage, CONFIG.optimizer, 6))
  for i in range(3):
    state, _ = step(state, None, batch(i), key)
    decay = min(0.9, (1 + i) / (10 + i))
    move = lambda old, new, d=decay: d * old + (1 - d) * new
    average = jax.tree.map(move, average, averaged(state))
  params, variables = state.model
  found = (params, nnx.filter_state(variables, nnx.BatchStat))
  for mean, wanted, last in zip(
    leaves(found), leaves(average), leaves(averaged(state)), strict=True
  ):
    np.testing.assert_allclose(mean, wanted, rtol=1e-5, atol=1e-7)
    assert (mean != last).any()
  rest = nnx.Not(nnx.BatchStat)
  assert_equal(nnx.filter_state(variables, rest), nnx.filter_state(state.variables, rest))


@pytest.mark.parametrize('name', [pytest.param('vqvae', marks=pytest.mark.slow), 'prior'])
def test_bfloat16_computes_and_float32_learns(name, tmp_path):
  def third_loss(dtype):
    state, log = train(tmp_path / dtype, name, dataclasses.replace(CONFIG, steps=3), dtype=dtype)
    assert all(leaf.dtype == np.float32 for leaf in leaves(state.params))
    return log.losses[3]

  coarse, fine = third_loss('bfloat16'), third_loss('float32')
  assert coarse == pytest.approx(fine, rel=0.03)
  assert coarse != fine


def test_a_trained_model_is_read_onto_one_device_or_in_parts_onto_many(tmp_path):
  state, _ = train(tmp_path, 'prior', dataclasses.replace(CONFIG, steps=2))
  _, *shapes = make_stage('prior').abstract()
  mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
  whole, parts = restore_model(tmp_path, *shapes), restore_model(tmp_path, *shapes, mesh)
  for model in (whole, parts):
    for a, b in zip(leaves(state.model), leaves(model), strict=True):
      np.testing.assert_array_equal(a, b)
  kernels = (model[0]['blocks']['mlp_in']['kernel'][...] for model in (whole, parts))
  assert [k.addressable_data(0).size / k.size for k in kernels] == [1, 1 / 8]
