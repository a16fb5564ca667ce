"""Kernels of attention held against float64 NumPy, and cases for that."""

import jax
import numpy as np

from benchmarks.gpu.oracle import oracle
from videogpt_jax.models.attention import CausalMask, strided_mask, window_mask

MASKS = {
  'all': lambda L: None,
  'causal': lambda L: CausalMask(),
  'strided': lambda L: strided_mask((2, L // 32, 16), 16, 2),
  'window': lambda L: window_mask((L // 16, 4, 4), 3),
}


def inputs(L, S, d, d_v, batch=2, heads=2):
  """float32 q, k, v and the gradient of the output."""
  shapes = (
    (batch, L, heads, d),
    (batch, S, heads, d),
    (batch, S, heads, d_v),
    (batch, L, heads, d_v),
  )
  keys = jax.random.split(jax.random.key(L + d), len(shapes))
  return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def assert_close(attend, arrays, mask, dropout=None):
  """Holds a kernel (q, k, v -> output) to 1e-5 forward and 1e-4 in its gradients, relatively."""
  q, k, v, d_out = arrays

  @jax.jit
  def run(q, k, v):
    out, pull = jax.vjp(attend, q, k, v)
    return out, *pull(d_out)

  names, bounds = ('out', 'd_q', 'd_k', 'd_v'), (1e-5, 1e-4, 1e-4, 1e-4)
  wanted = oracle(*arrays, mask, dropout)
  for name, bound, a, b in zip(names, bounds, run(q, k, v), wanted, strict=True):
    assert np.linalg.norm(a - b) <= bound * np.linalg.norm(b), name
