"""Attention as its equation says, with all scores in memory: the reference, and fastest if short.

Axis letters: B batch; L queries; S keys; N heads; d head size.
"""

import jax
import jax.numpy as jnp

from videogpt_jax.models.attention.dropout import Dropout
from videogpt_jax.models.attention.masks import CausalMask


def dense_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: CausalMask | None = None,
  dropout: Dropout | None = None,
) -> jax.Array:
  """See `attention`."""
  queries, keys = jnp.arange(q.shape[1]), jnp.arange(k.shape[1])
  scores = jnp.einsum('BLNd,BSNd->BNLS', q, k, preferred_element_type=jnp.float32)
  scores *= q.shape[-1] ** -0.5
  if mask is not None:
    scores = jnp.where(mask.rows(queries, keys), scores, -jnp.inf)
  weights = jax.nn.softmax(scores, axis=-1)
  if dropout is not None:
    keep = dropout.keep(queries[:, None], keys)
    weights = jnp.where(keep, weights / (1 - dropout.rate), 0.0)
  return jnp.einsum('BNLS,BSNd->BLNd', weights.astype(v.dtype), v)
