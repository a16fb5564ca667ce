"""Blocks that a mask leaves empty are not visited, and memory grows with the length alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogpt_jax.models.attention import CausalMask, attention, schedule, strided_mask
from videogpt_jax.models.attention.schedule import make_schedule


@pytest.mark.parametrize('shape', [(4, 32, 32), (8, 32, 32), (4, 16, 16), (3, 5, 32), (4, 64, 64)])
def test_the_strided_mask_costs_what_its_density_says(shape):
  mask, L = strided_mask(shape, 32, 4), np.prod(shape)
  plan = make_schedule(L, L, mask)
  admitted = int(np.tril(mask.layout).sum())
  assert admitted <= plan.n_visited < 2.2 * admitted
  assert plan.chunk * plan.block <= 1024


def test_a_tpu_takes_more_queries_of_a_sparse_layout_at_a_time(monkeypatch):
  mask = strided_mask((8, 32, 32), 32, 4)
  chunks = {}
  for platform in ('cpu', 'tpu'):
    monkeypatch.setattr(schedule, 'platform', lambda platform=platform: platform)
    chunks[platform] = make_schedule(8192, 8192, mask).chunk
  assert chunks == {'cpu': 4, 'tpu': 16}


def test_a_causal_mask_costs_half():
  plan = make_schedule(8192, 8192, CausalMask())
  assert plan.n_visited * plan.block**2 < 0.55 * 8192**2


@pytest.mark.parametrize('mask', [CausalMask(), strided_mask((2, 6, 16), 16, 2), None])
def test_every_admitted_block_is_visited_once(mask):
  plan = make_schedule(192, 192, mask)
  keys = plan.keys.reshape(-1, plan.keys.shape[-1])
  for row, blocks in enumerate(keys):
    reached = blocks[: plan.steps[row // plan.chunk] * plan.group]
    assert sorted(blocks[blocks >= 0]) == sorted(reached[reached >= 0])
    if mask is not None and mask.layout is not None and row < len(mask.layout):
      np.testing.assert_array_equal(reached[reached >= 0], np.nonzero(mask.layout[row])[0])


def temporary_bytes(L, mask):
  x = jax.ShapeDtypeStruct((1, L, 2, 16), jnp.float32)

  def loss(q, k, v):
    return attention(q, k, v, mask, backend='blockwise').sum()

  compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x).compile()
  return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize('kind', ['causal', 'strided'])
def test_memory_of_the_gradient_is_linear_in_the_length(kind):
  lengths = [1024 * 4**i for i in range(4)]  # to 65,536
  grids = [(L // 1024, 32, 32) for L in lengths]
  masks = [CausalMask() if kind == 'causal' else strided_mask(grid, 32, 4) for grid in grids]
  sizes = [temporary_bytes(L, mask) for L, mask in zip(lengths, masks, strict=True)]
  for n, size in zip(lengths, sizes, strict=True):
    assert size <= 1.25 * n / lengths[0] * sizes[0], sizes
