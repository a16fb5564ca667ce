"""Loss, gradients, batch statistics and codebook are those of one device on every mesh."""

import dataclasses
import functools
import re

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.training.tiny import PRIOR_CONFIG, batch, make_stage, parameters
from videogpt_jax.models.prior import MOST_UNROLLED
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.training.sharding import BATCH, MeshConfig, make_mesh, on_mesh, shard, shardings
from videogpt_jax.training.step import make_gradients

PRIOR = PriorConfig(hidden_dim=32, n_heads=8, n_layers=2, n_classes=3)

OTHERS = [(8, 1, 1), (2, 4, 1), (1, 1, 8)]
MESHES = [(2, 2, 2), *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in OTHERS)]
"""Sizes of data, fsdp, tensor (and sequence)."""

CLIPS = batch(3)
"""Clips at which rounding stays below 3e-6 of a gradient. At others batch norm amplifies it, up to
2e-5 on CPUs without AVX-512."""


def gradients(name, sizes, grad_accum_steps=1, prior=PRIOR):
  """Gradients, moved variables and metrics of a step on a mesh, as flat dicts of NumPy arrays."""
  stage = make_stage(name, prior=prior)
  mesh = make_mesh(MeshConfig(*sizes), jax.devices()[: np.prod(sizes)])
  params, variables = parameters(stage)
  places, replicated = shardings(params, mesh), NamedSharding(mesh, P())
  step = jax.jit(
    on_mesh(make_gradients(stage, stage.updates[0], grad_accum_steps), mesh),
    out_shardings=(places, replicated, replicated),
  )
  found = step(
    shard(params, places),
    shard(variables, replicated),
    shard(stage.frozen, replicated),
    shard(CLIPS, NamedSharding(mesh, BATCH)),
    jax.random.key(5),
  )
  found = multihost_utils.process_allgather(found, tiled=True)
  flat = jax.tree_util.tree_flatten_with_path(found)[0]
  return {jax.tree_util.keystr(path, simple=True, separator='/'): x for path, x in flat}


one_device = functools.cache(lambda name: gradients(name, (1, 1, 1)))


def scales(arrays):
  """The largest entry of each array's layer: kernel, bias and scale together, and the four
  projections of an attention. Some gradients are small, or zero but for rounding, because their
  terms cancel: of biases ahead of a batch norm, of keys ahead of a softmax."""
  layer = {
    name: re.sub('(/(query|key|value|out))?/(kernel|bias|scale)/value$', '', name)
    for name in arrays
  }
  largest = {}
  for name, value in arrays.items():
    entry = float(np.abs(np.asarray(value, float)).max())
    largest[layer[name]] = max(largest.get(layer[name], 0), entry)
  return {name: largest[layer[name]] for name in arrays}


def assert_same(found, expected):
  """Every array within 1e-5, relative to the largest entry of its layer."""
  assert found.keys() == expected.keys()
  for name, scale in scales(expected).items():
    error = np.abs(np.asarray(found[name], float) - np.asarray(expected[name], float)).max()
    assert error <= 1e-5 * scale, f'{name}: {error}, of {scale}'


@pytest.mark.parametrize('sizes', MESHES, ids=str)
@pytest.mark.parametrize('name', ['vqvae', 'prior'])
def test_every_gradient_is_that_of_one_device(name, sizes):
  """The VQ-VAE's batch statistics and codebook too, which are sums over the global batch."""
  assert_same(gradients(name, sizes), one_device(name))


@pytest.mark.parametrize('sizes', [(2, 1, 1, 4), (1, 2, 2, 2)], ids=str)
def test_a_sequence_shared_out_gives_the_same_gradients(sizes):
  assert_same(gradients('prior', sizes), one_device('prior'))


def test_no_gradient_vanishes_in_these_tests():
  for name in ('vqvae', 'prior'):
    found = scales({k: v for k, v in one_device(name).items() if k.startswith('0/')})
    assert len(found) > 20
    assert min(found.values()) > 1e-3, name


def test_micro_batches_of_a_prior_add_up_to_the_batch():
  config = PriorConfig(
    hidden_dim=32, n_heads=8, n_layers=2, n_classes=3, dropout=0.0, attn_dropout=0.0
  )
  whole = gradients('prior', (1, 1, 1), prior=config)
  assert_same(gradients('prior', (2, 2, 1), 2, config), whole)


def test_a_vqvae_takes_each_micro_batch_for_a_batch_of_its_own():
  """Two halves: the variables are those after a step on either, one after the other."""
  stage = make_stage('vqvae')
  params, variables = parameters(stage)
  key = jax.random.key(5)
  _, moved, metrics = jax.jit(make_gradients(stage, stage.updates[0], 2))(
    params, variables, None, CLIPS, key
  )
  step, losses = jax.jit(make_gradients(stage, stage.updates[0])), []
  for i, part_key in enumerate(jax.random.split(key)):
    part = {name: x[i::2] for name, x in CLIPS.items()}
    _, variables, parts = step(params, variables, None, part, part_key)
    losses.append(parts['loss'])
  np.testing.assert_allclose(metrics['loss'], np.mean(losses), rtol=1e-5)
  for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(variables), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_depth_does_not_make_the_program_longer():
  """One compiled block serves all layers beyond `MOST_UNROLLED`, and compile time does not grow."""

  def lines(n_layers):
    stage = make_stage('prior', prior=dataclasses.replace(PRIOR_CONFIG, n_layers=n_layers))
    _, params, variables = stage.abstract()
    key = jax.eval_shape(lambda: jax.random.key(0))
    step = jax.jit(make_gradients(stage, stage.updates[0]))
    lowered = step.lower(params, variables, jax.eval_shape(lambda: stage.frozen), CLIPS, key)
    return len(lowered.as_text().splitlines())

  assert lines(MOST_UNROLLED + 1) == lines(MOST_UNROLLED + 4)
  assert lines(2) < lines(4)  # unrolled on a CPU
