"""Axial attention against dense attention along each line, with and without a mask in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.models.attention import CausalMask, axial
from videogpt_jax.models.attention.axial import AxialAttention
from videogpt_jax.models.attention.dense import dense_attention

MASKS = {'none': None, 'causal': CausalMask(), 'pairs': CausalMask(np.eye(2, dtype=bool), 2)}


@pytest.mark.parametrize('time_mask', MASKS)
def test_it_is_the_sum_of_dense_attention_along_each_axis(time_mask, monkeypatch):
  """Sizes are unequal on all axes; the last mask is made up: blocks of two frames."""
  monkeypatch.setattr(axial, 'TIME_MASKS', MASKS)
  x = jax.random.normal(jax.random.key(0), (2, 4, 3, 5, 12))
  attention = AxialAttention(12, 2, time_mask, rngs=nnx.Rngs(0))
  expected = 0
  for part, axis in ((attention.attn_t, 1), (attention.attn_h, 2), (attention.attn_w, 3)):
    lines = jnp.moveaxis(x, axis, 3)
    heads = lambda linear, lines=lines: linear(lines).reshape(-1, lines.shape[3], 2, 6)
    mask = MASKS[time_mask] if axis == 1 else None
    y = dense_attention(heads(part.query), heads(part.key), heads(part.value), mask)
    expected += jnp.moveaxis(part.out(y.reshape(lines.shape)), 3, axis)
  np.testing.assert_allclose(attention(x), expected, atol=1e-5)
