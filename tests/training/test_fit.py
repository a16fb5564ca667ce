"""The loop: learning, resuming, and several devices."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.training.tiny import ListLog, batch, data, leaves, make_stage
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.fit import TrainingConfig, fit, prepare
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh, shard_batch

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
  log, mesh = ListLog(), make_mesh(MeshConfig(), jax.devices()[:1])
  with Checkpoints(folder) as checkpoints:
    state = fit(make_stage(name, dtype), config, data(), mesh, checkpoints, log)
  return state, log


@pytest.mark.parametrize('name', ['vqvae', 'prior'])
def test_an_interrupted_run_ends_as_one_that_was_not(name, tmp_path):
  whole, log = train(tmp_path / 'whole', name)

  class StoppedError(Exception):
    pass

  class Stop(ListLog):
    def progress(self, step, metrics):
      if step == 5:
        raise StoppedError

  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  with pytest.raises(StoppedError), Checkpoints(tmp_path / 'cut') as checkpoints:
    fit(make_stage(name), CONFIG, data(), mesh, checkpoints, Stop())
  resumed, rest = train(tmp_path / 'cut', name)
  assert set(rest.losses) == {5, 6}  # from the checkpoint of step 4
  assert {step: log.losses[step] for step in rest.losses} == rest.losses
  for a, b in zip(leaves(whole), leaves(resumed), strict=True):
    np.testing.assert_array_equal(a, b)


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


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize('name', ['vqvae', 'prior'])
def test_eight_devices_take_the_step_of_one(name, sizes, tmp_path):
  stage, key = make_stage(name), jax.random.key(0)

  def step(mesh):
    with Checkpoints(tmp_path / str(mesh.size)) as checkpoints:
      state, step_fn = prepare(stage, CONFIG, mesh, checkpoints, key)
    state, metrics = step_fn(state, stage.frozen, shard_batch(batch(0), mesh), key)
    return jax.device_get((state.variables, metrics))

  one = step(make_mesh(MeshConfig(), jax.devices()[:1]))
  many = step(make_mesh(MeshConfig(*sizes)))
  for a, b in zip(leaves(one), leaves(many), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_evaluation_counts_every_clip_once_whatever_the_padding(tmp_path):
  _, log = train(tmp_path, 'vqvae', dataclasses.replace(CONFIG, steps=3, evaluate_batches=-1))
  assert log.scored[3]['codebook_usage'] > 0
  assert log.shown[3]['reconstructions'].shape == (8, 4, 16, 8, 3)


def test_averaged_parameters_are_what_is_evaluated(tmp_path):
  state, _ = train(tmp_path, 'prior', dataclasses.replace(CONFIG, steps=3))
  params, _ = state.model
  assert any((a != b).any() for a, b in zip(leaves(params), leaves(state.params), strict=True))


@pytest.mark.parametrize('name', ['vqvae', 'prior'])
def test_bfloat16_computes_and_float32_learns(name, tmp_path):
  def third_loss(dtype):
    state, log = train(tmp_path / dtype, name, dataclasses.replace(CONFIG, steps=3), dtype=dtype)
    assert all(leaf.dtype == np.float32 for leaf in leaves(state.params))
    return log.losses[3]

  coarse, fine = third_loss('bfloat16'), third_loss('float32')
  assert coarse == pytest.approx(fine, rel=0.03)
  assert coarse != fine
