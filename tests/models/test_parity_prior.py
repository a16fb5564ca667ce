"""The prior computes what the published one computes: logits, loss and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.goldens.golden import Golden, conditions_of, models_of, prior_of, relative_error
from videogpt_jax.interop import names, state_dict
from videogpt_jax.models.attention import strided_mask
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.stages.train_prior import nats_per_code

NAMES = [
  'gpt_uncond',
  'gpt_class',
  pytest.param('gpt_frame', marks=pytest.mark.slow),  # the forward: test_parity_decoding.py
  'gpt_class_frame',
]


@functools.cache
def forward_and_gradients(name):
  """Logits, loss and the published tensors of its gradients."""
  golden = Golden(name)
  loaded = prior_of(golden)
  vqvae, prior = models_of(loaded)
  codes = golden['in/encodings']
  embeddings = vqvae.codebook.lookup(codes)
  config = loaded.prior
  conditions = conditions_of(golden, config)
  graphdef, params = nnx.split(prior)

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params):
    prior = nnx.merge(graphdef, params)
    logits = prior(embeddings, prior.condition(conditions))
    return nats_per_code(prior.factors, logits, codes).mean(), logits

  (value, logits), grads = loss(params)
  table = names.prior_table(config, loaded.codes)
  return golden, logits, value, state_dict.to_tensors(grads, table)


@pytest.mark.parametrize('name', NAMES)
def test_logits_and_loss(name):
  golden, logits, loss, _ = forward_and_gradients(name)
  assert relative_error(logits, golden['eval/logits']) < 1e-4
  assert relative_error(loss, golden['eval/loss']) < 1e-5


@pytest.mark.parametrize('name', NAMES)
def test_every_gradient(name):
  golden, *_, grads = forward_and_gradients(name)
  norms = golden.under('grad_norm/')
  assert norms.keys() == grads.keys()
  for tensor, norm in norms.items():
    assert abs(np.linalg.norm(grads[tensor]) - norm) < 1e-3 * norm, tensor
  for tensor, x in golden.under('grad/').items():
    assert np.linalg.norm(grads[tensor] - x) < 1e-3 * norms[tensor], tensor


def test_sparse_layouts():
  golden = Golden('sparse_layouts')
  block, n_local_blocks = golden.config['block'], golden.config['num_local_blocks']
  shapes = set(golden.arrays) - {'config'}
  assert shapes
  for shape in shapes:
    mask = strided_mask(tuple(map(int, shape.split('x'))), block, n_local_blocks)
    np.testing.assert_array_equal(mask.layout, golden[shape])


def test_a_sparse_row_admits_only_earlier_positions_of_admitted_blocks():
  mask = strided_mask((4, 8, 16), block=32, n_local_blocks=1)
  rows = np.asarray(mask.rows(jnp.arange(512), jnp.arange(512)))
  query, key = np.indices(rows.shape)
  np.testing.assert_array_equal(rows, (key <= query) & mask.layout[query // 32, key // 32])


def test_parameter_count_of_the_published_bair_attention_stack():
  codes = CodeSpec((4, 32, 32), 2048, 256, 16, 64)
  config = PriorConfig(hidden_dim=576, n_heads=4, n_layers=8)
  prior = nnx.eval_shape(lambda: Prior(config, codes, rngs=nnx.Rngs(0)))
  stack = nnx.state((prior.sos, prior.positions, prior.blocks), nnx.Param)
  assert sum(x.size for x in jax.tree.leaves(stack)) == 31_910_208
