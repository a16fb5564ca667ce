"""Attention in float64 NumPy, as its equation says, with its gradients.

Axis letters: B batch; L queries; S keys; N heads; d head size.
"""

import jax.numpy as jnp
import numpy as np

from videogpt_jax.models.attention import CausalMask, Dropout

Results = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def oracle(q, k, v, d_out, mask: CausalMask | None, dropout: Dropout | None = None) -> Results:
  """Returns the output and the gradients of q, k and v, float64.

  Args:
    q, k, v: as for `attention`.
    d_out: gradient of the output.
    mask, dropout: as for `attention`.
  """
  q, k, v, d_out = (np.moveaxis(np.asarray(x, np.float64), 1, 2) for x in (q, k, v, d_out))
  L, S, scale = q.shape[2], k.shape[2], q.shape[-1] ** -0.5
  turned = lambda x: np.swapaxes(x, 2, 3)
  scores = q @ turned(k) * scale
  if mask is not None:
    scores = np.where(np.asarray(mask.rows(jnp.arange(L), jnp.arange(S))), scores, -np.inf)
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  keep = 1.0
  if dropout is not None:
    keep = np.asarray(dropout.keep(jnp.arange(L)[:, None], jnp.arange(S))) / (1 - dropout.rate)
  d_weights = d_out @ turned(v) * keep
  d_scores = weights * (d_weights - (weights * d_weights).sum(-1, keepdims=True)) * scale
  results = (
    (weights * keep) @ v,
    d_scores @ k,
    turned(d_scores) @ q,
    turned(weights * keep) @ d_out,
  )
  return tuple(np.moveaxis(x, 2, 1) for x in results)
