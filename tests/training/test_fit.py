"""The loop: learning, resuming, and several devices."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest

from tests.training.tiny import ListLog, Stop, StoppedError, batch, data, leaves, make_stage
from videogpt_jax.training.checkpoint import Checkpoints, restore_model
from videogpt_jax.training.distributed import PreemptedError
from videogpt_jax.training.fit import TrainingConfig, fit
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh

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
