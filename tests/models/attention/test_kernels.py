"""Every kernel that runs here computes the same attention, and gradients, as float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.attention.oracle import MASKS, assert_close, inputs
from videogpt_jax.models.attention import CausalMask, attention, make_dropout, schedule
from videogpt_jax.models.attention.splash import splash_attention
from videogpt_jax.models.attention.triton import triton_attention

HEAD_SIZES = [64, 128, 144]
PLAIN = ['dense', 'blockwise']


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  """So that short sequences are many blocks."""
  monkeypatch.setattr(schedule, 'ROWS', 64)


def length(kind):
  """200: the last block of 56 or so is not full; a grid is made of whole blocks of 16."""
  return 224 if kind in ('strided', 'window') else 203


@pytest.mark.parametrize('head_size', HEAD_SIZES)
@pytest.mark.parametrize('kind', MASKS)
@pytest.mark.parametrize('backend', PLAIN)
def test_plain_kernels(backend, kind, head_size):
  L, mask = length(kind), MASKS[kind](length(kind))
  S = L if mask else 90
  arrays = inputs(L, S, head_size, head_size)
  assert_close(lambda *qkv: attention(*qkv, mask, backend=backend), arrays, mask)


@pytest.mark.parametrize('kind', MASKS)
@pytest.mark.parametrize('backend', PLAIN)
def test_dropout_is_that_of_the_seeds_forward_and_backward(backend, kind):
  L, mask = length(kind), MASKS[kind](length(kind))
  S = L if mask else 90
  drop = make_dropout(0.3, jax.random.key(0), 2, 2)
  arrays = inputs(L, S, 16, 24)  # values of another size than keys
  assert_close(
    lambda *qkv: attention(*qkv, mask, dropout=drop, backend=backend), arrays, mask, drop
  )


def test_bfloat16_errs_by_its_own_precision():
  arrays = [x.astype(jnp.bfloat16) for x in inputs(203, 203, 32, 32)]
  run = jax.jit(lambda *qkv: attention(*qkv, CausalMask(), backend='blockwise'))
  out, wanted = run(*arrays[:3]), run(*(x.astype(jnp.float32) for x in arrays[:3]))
  assert out.dtype == jnp.bfloat16
  assert 0 < np.linalg.norm(out - wanted) < 1e-2 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
  ('kind', 'head_size'),
  [('causal', 64), ('strided', 144), ('all', 128)]
  + [
    pytest.param(*case, marks=pytest.mark.slow)
    for case in [
      ('causal', 128),
      ('causal', 144),
      ('strided', 64),
      ('strided', 128),
      ('all', 64),
      ('all', 144),
    ]
  ],
)
def test_the_tpu_kernel_interpreted(kind, head_size):
  L, mask = length(kind), MASKS[kind](length(kind))
  arrays = inputs(L, L if mask else 90, head_size, head_size, batch=1, heads=1)
  assert_close(lambda *qkv: splash_attention(*qkv, mask, interpret=True), arrays, mask)


@pytest.mark.parametrize(
  'head_size', [24, *(pytest.param(size, marks=pytest.mark.slow) for size in HEAD_SIZES)]
)
@pytest.mark.parametrize('kind', MASKS)
@pytest.mark.parametrize('rate', [0.0, 0.3])
def test_the_gpu_kernel_interpreted(rate, kind, head_size):
  L, mask = length(kind), MASKS[kind](length(kind))
  drop = make_dropout(rate, jax.random.key(0), 1, 2)
  arrays = inputs(L, L if mask else 90, head_size, head_size + 16, batch=1)
  assert_close(lambda *qkv: triton_attention(*qkv, mask, drop, interpret=True), arrays, mask, drop)
