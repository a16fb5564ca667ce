"""Linear layers as decoding has them on CPU."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import make
from videogpt_jax.models.layers import Linear
from videogpt_jax.sampling.few_rows import FewRowsLinear, for_few_rows


@pytest.mark.parametrize('rows', [(1,), (1, 1), (3,), (2, 4), (5, 7)])
@pytest.mark.parametrize(('n_in', 'use_bias'), [(24, True), (7, False)])
def test_they_compute_what_a_linear_layer_does(rows, n_in, use_bias):
  linear = Linear(n_in, 5, stddev=1.0, use_bias=use_bias, rngs=nnx.Rngs(0))
  if use_bias:
    linear.bias[...] += jnp.arange(5.0)
  x = jax.random.normal(jax.random.key(1), (*rows, n_in))
  found = jax.jit(FewRowsLinear(linear))(x)
  assert found.shape == (*rows, 5)
  np.testing.assert_allclose(found, linear(x), rtol=1e-5, atol=1e-5)


def test_they_replace_those_of_blocks_and_leave_the_prior_as_it_is():
  prior, _ = make('full')
  block = for_few_rows(prior.unstacked_blocks()[0])
  assert isinstance(block.attn.query, FewRowsLinear) and isinstance(block.mlp_out, FewRowsLinear)
  changed = for_few_rows(nnx.clone(prior))
  assert isinstance(changed.fc_out, FewRowsLinear)
  assert isinstance(prior.fc_out, Linear) and isinstance(changed.blocks.mlp_in, Linear)


def test_the_kernel_stands_on_the_left_of_several_rows():
  linear = FewRowsLinear(Linear(24, 5, stddev=1.0, rngs=nnx.Rngs(0)))
  text = jax.jit(linear).lower(jnp.ones((3, 24))).compile().as_text()
  (left,) = re.findall(r'f32\[(\d+),3\][^=]* dot\(', text)
  assert left == '5'
