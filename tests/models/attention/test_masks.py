"""Masks are values: equal ones are one static argument of a compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.models.attention import CausalMask, strided_mask
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig


def test_equal_masks_compare_and_hash_alike():
  assert CausalMask() == CausalMask()
  a, b = strided_mask((2, 4, 8), 8, 1), strided_mask((2, 4, 8), 8, 1)
  assert (a, hash(a)) == (b, hash(b))
  others = [
    CausalMask(),
    strided_mask((2, 4, 8), 8, 2),
    strided_mask((2, 4, 8), 4, 1),
    CausalMask(a.layout, 16),
    CausalMask(np.tri(8, dtype=bool), 8),
    None,
  ]
  assert a not in others


def test_the_layout_of_a_mask_does_not_change():
  with pytest.raises(ValueError, match='read-only'):
    strided_mask((2, 4, 8), 8, 1).layout[0, 0] = False


@pytest.mark.parametrize('attn_type', ['full', 'sparse'])
def test_two_loads_of_a_model_share_a_compiled_program(attn_type):
  config = PriorConfig(
    16, n_heads=2, n_layers=1, attn_type=attn_type, attn_block=8, n_local_blocks=1
  )
  spec = CodeSpec((2, 4, 8), 7, 5, sequence_length=4, resolution=16)
  a, b = (trained(Prior(config, spec, rngs=nnx.Rngs(0))) for _ in range(2))
  assert a.graph == b.graph
  traces = []

  @jax.jit
  def logits(model, embeddings):
    traces.append(1)
    prior = model.module()
    return prior(embeddings, prior.condition({}))

  embeddings = jnp.ones((1, 2, 4, 8, 5))
  np.testing.assert_array_equal(logits(a, embeddings), logits(b, embeddings))
  assert len(traces) == 1
