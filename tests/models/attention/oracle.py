"""Attention in float64 NumPy, as its equation says, with gradients; cases to hold it against."""

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.models.attention import CausalMask, strided_mask

MASKS = {
  'all': lambda L: None,
  'causal': lambda L: CausalMask(),
  'strided': lambda L: strided_mask((2, L // 32, 16), 16, 2),
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


def oracle(q, k, v, d_out, mask, dropout=None):
  """Returns the output and the gradients of q, k and v in float64."""
  q, k, v, d_out = (np.asarray(x, np.float64) for x in (q, k, v, d_out))
  L, S, scale = q.shape[1], k.shape[1], q.shape[-1] ** -0.5
  scores = np.einsum('BLNd,BSNd->BNLS', q, k) * scale
  if mask is not None:
    scores = np.where(np.asarray(mask.rows(jnp.arange(L), jnp.arange(S))), scores, -np.inf)
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  keep = 1.0
  if dropout is not None:
    keep = np.asarray(dropout.keep(jnp.arange(L)[:, None], jnp.arange(S))) / (1 - dropout.rate)
  out = np.einsum('BNLS,BSNd->BLNd', weights * keep, v)
  d_weights = np.einsum('BLNd,BSNd->BNLS', d_out, v) * keep
  d_scores = weights * (d_weights - (weights * d_weights).sum(-1, keepdims=True)) * scale
  return (
    out,
    np.einsum('BNLS,BSNd->BLNd', d_scores, k),
    np.einsum('BNLS,BLNd->BSNd', d_scores, q),
    np.einsum('BNLS,BLNd->BSNd', weights * keep, d_out),
  )


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
