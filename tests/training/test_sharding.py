"""The mesh and the table."""

import functools
import math

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from configs import bair, demo, ucf101
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.tokenizer import abstract_tokenizer
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import (
  MeshConfig,
  check_batch,
  check_prior,
  make_mesh,
  shardings,
)
from videogpt_jax.training.step import init_state


def test_minus_one_takes_the_devices_that_are_left():
  assert dict(make_mesh(MeshConfig(-1, 2, 2)).shape) == {
    'data': 2,
    'fsdp': 2,
    'tensor': 2,
    'sequence': 1,
  }


@pytest.mark.parametrize('sizes', [(3, 1, 1), (-1, 3, 1), (16, 1, 1), (2, 2, 1)])
def test_meshes_that_do_not_fit_are_refused(sizes):
  with pytest.raises(UserError, match='does not divide the 8 devices'):
    make_mesh(MeshConfig(*sizes))


def test_a_batch_that_cannot_be_shared_out_names_those_that_can():
  with pytest.raises(UserError, match=r'batch_size \(12\) .* use 8 or 16'):
    check_batch(12, make_mesh(MeshConfig(4, 2, 1)))


def test_the_table_places_parameters_and_what_belongs_to_them():
  mesh = make_mesh(MeshConfig(2, 2, 2))
  kernel = jax.ShapeDtypeStruct((3, 8, 8), np.float32)
  odd = jax.ShapeDtypeStruct((3, 8, 7), np.float32)
  tree = {
    'mu': {
      'blocks': {
        'attn': {'query': {'kernel': kernel}, 'value': {'kernel': kernel}},
        'mlp_in': {'kernel': odd},
      }
    }
  }
  placed = shardings(tree, mesh)['mu']['blocks']
  for name in ('query', 'value'):
    assert placed['attn'][name]['kernel'].spec == P(None, 'fsdp', 'tensor')
  assert placed['mlp_in']['kernel'].spec == P(None, 'fsdp', None)


def test_heads_and_positions_that_cannot_be_shared_out_are_refused():
  mesh = make_mesh(MeshConfig(tensor=2, sequence=2))
  check_prior(8, 64, mesh)
  with pytest.raises(UserError, match=r'n_heads \(6\) .* \(2 \* 2\); use 8 heads'):
    check_prior(6, 64, mesh)
  with pytest.raises(UserError, match=r'the 63 codes .* mesh.sequence \(2\)'):
    check_prior(8, 63, mesh)


@functools.cache
def full_size(config, stage):
  """Shapes of all that a stage of this configuration trains, averages and moments included."""
  experiment = from_dict(config.get_config())
  data = experiment.dataset
  tokenizer = abstract_tokenizer(experiment.vqvae, data.sequence_length, data.resolution)
  made = (
    vqvae_stage(experiment.vqvae, tokenizer.latent_shape)
    if stage == 'vqvae'
    else prior_stage(experiment.prior, tokenizer)
  )
  init = lambda key: init_state(made, OptimizerConfig(ema_decay=0.9), 10, key)
  return jax.eval_shape(init, jax.random.key(0))


def mebibytes(state, sizes):
  """Memory that a device of this mesh needs for `state`."""
  places = jax.tree.leaves(shardings(state, make_mesh(MeshConfig(*sizes))))
  shapes = [
    (place.shard_shape(leaf.shape), leaf.dtype)
    for leaf, place in zip(jax.tree.leaves(state), places, strict=True)
  ]
  return sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes) / 2**20


SIZES = [(config, stage) for config in (bair, ucf101, demo) for stage in ('vqvae', 'prior')]


@pytest.mark.parametrize(('config', 'stage'), SIZES, ids=lambda x: getattr(x, '__name__', x))
def test_fsdp_leaves_no_large_parameter_whole(config, stage):
  state = full_size(config, stage)
  places = shardings(state.params, make_mesh(MeshConfig(1, 8, 1)))
  flat = jax.tree_util.tree_flatten_with_path(state.params)[0]
  whole = {
    jax.tree_util.keystr(path, simple=True, separator='/')
    for (path, leaf), place in zip(flat, jax.tree.leaves(places), strict=True)
    if leaf.size >= 50_000 and place.is_fully_replicated
  }
  # Each layer's bias of the hidden units lies with them, on `tensor`.
  assert whole <= {'blocks/mlp_in/bias/value'}


@pytest.mark.parametrize(('config', 'stage'), SIZES, ids=lambda x: getattr(x, '__name__', x))
def test_memory_for_training_falls_with_the_devices_of_fsdp(config, stage):
  """What is left whole (norms, codebook, position tables) is small."""
  state = full_size(config, stage)
  one = mebibytes(state, (8, 1, 1))
  for n in (2, 4, 8):
    assert one / n <= mebibytes(state, (8 // n, n, 1)) < 1.02 * one / n + 12
