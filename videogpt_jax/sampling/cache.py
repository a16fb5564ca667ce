"""Keys and values of the positions that have been decoded, in two levels.

A cache that is written and read in one scan body is copied whole at every step. So there are two:
a long one, which the inner loop only reads, and a small one of the current chunk, which it writes;
one softmax runs over both, and the outer loop merges them.

Axis letters: B clips; N heads; S entries that are read; C chunk length; Q queries; d head size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from videogpt_jax.models.attention import CausalMask
from videogpt_jax.models.placement import constrain
from videogpt_jax.models.transformer import PriorConfig

Cache = list[tuple[jax.Array, jax.Array]]
"""For each block, keys and values [B N S d]."""


class View(NamedTuple):
  """What a chunk of codes may read of the long cache.

  Attributes:
    cache: keys and values [B N S d] of each block.
    positions: int32 [S], of its entries; those that are not before the chunk do not count.
  """

  cache: Cache
  positions: jax.Array


def empty(config: PriorConfig, batch_size: int, length: int) -> Cache:
  """Returns a cache of zeros, in the type that the prior computes in."""
  shape = (batch_size, config.n_heads, length, config.hidden_dim // config.n_heads)
  zeros = lambda: constrain(jnp.zeros(shape, config.dtype), 'B N S d')
  return [(zeros(), zeros()) for _ in range(config.n_layers)]


def grow(cache: Cache, length: int) -> Cache:
  """Returns the cache with room for `length` positions."""
  return jax.tree.map(
    lambda a: jnp.pad(a, [(0, 0), (0, 0), (0, length - a.shape[2]), (0, 0)]), cache
  )


def put(cache: Cache, part: Cache, start: jax.Array) -> Cache:
  """Returns the cache with `part` in it, from the position `start` on."""
  return jax.tree.map(
    lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, start, axis=2), cache, part
  )


def view(cache: Cache, mask: CausalMask, start: jax.Array, chunk: int) -> View:
  """Returns what the chunk that begins at `start` may read of the long cache.

  Of a sparse layout those are the blocks that it admits, gathered once for the whole chunk, which
  must lie in one block.
  """
  S = cache[0][0].shape[2]
  if mask.layout is None:
    return View(cache, jnp.arange(S))
  # The chunk's own block is only in the long cache where it has more chunks than one.
  wanted = jnp.asarray(_blocks_to_read(mask.layout, own=mask.block > chunk))[start // mask.block]
  inside = jnp.arange(mask.block)
  positions = jnp.where(wanted[:, None] < 0, S, wanted[:, None] * mask.block + inside)

  def gather(a):
    parts = rearrange(a, 'B N (b i) d -> B N b i d', i=mask.block)
    parts = jnp.take(parts, jnp.maximum(wanted, 0), axis=2)
    return rearrange(parts, 'B N b i d -> B N (b i) d')

  return View(jax.tree.map(gather, cache), positions.reshape(-1))


def _blocks_to_read(layout: np.ndarray, own: bool) -> np.ndarray:
  """Returns for each block which earlier ones it attends to, and itself: int32 [n m], -1 fills."""
  rows = [np.flatnonzero(row) for row in np.tril(layout, 0 if own else -1)]
  blocks = np.full((len(rows), max(map(len, rows))), -1, np.int32)
  for i, found in enumerate(rows):
    blocks[i, : len(found)] = found
  return blocks


def attend(
  q: jax.Array,
  prefix: tuple[jax.Array, jax.Array],
  local: tuple[jax.Array, jax.Array],
  admitted: tuple[jax.Array, jax.Array],
) -> jax.Array:
  """Attention to two runs of keys and values under one softmax, which is float32.

  Args:
    q: [B Q N d].
    prefix: keys and values [B N S d].
    local: keys and values [B N C d].
    admitted: bool [S] and [Q C], which of these count; of each query's at least one.
  Returns:
    [B Q N d].
  """

  def attend_one(q, own):
    """[B N d] and bool [C] -> [B N d]."""
    q = q * q.shape[-1] ** -0.5
    scores = [
      jnp.einsum('BNd,BNSd->BNS', q, k, preferred_element_type=jnp.float32)
      for k, _ in (prefix, local)
    ]
    scores = [
      jnp.where(mask, s, -jnp.inf) for s, mask in zip(scores, (admitted[0], own), strict=True)
    ]
    highest = jnp.maximum(*(jnp.max(s, axis=-1, keepdims=True) for s in scores))
    weights = [jnp.exp(s - highest) for s in scores]
    total = sum(jnp.sum(w, axis=-1, keepdims=True) for w in weights)
    y = sum(
      jnp.einsum('BNS,BNSd->BNd', w.astype(v.dtype), v, preferred_element_type=jnp.float32)
      for w, (_, v) in zip(weights, (prefix, local), strict=True)
    )
    return (y / total).astype(q.dtype)

  if q.shape[1] == 1:  # with an axis more, XLA's CPU backend transposes a whole cache at every step
    return attend_one(q[:, 0], admitted[1][0])[:, None]
  return jax.vmap(attend_one, in_axes=(1, 0), out_axes=1)(q, admitted[1])
