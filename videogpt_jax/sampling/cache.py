"""Keys and values of the positions that have been decoded, in two levels.

A cache that is written and read in one scan body is copied whole at every step. So there are two:
a long one, which the inner loop only reads, and a small one of the current chunk, which it writes;
one softmax runs over both, and the outer loop merges them.

Positions are the last axis of the long one: CPUs read long rows at the memory's speed, rows of d a
tenth slower, and a third where values of a head outgrow a core's cache. The small one is written a
position at a time, so that there they are the last but one.

Axis letters: B clips; N heads; S entries that are read; C chunk length; Q queries; d head size.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from videogpt_jax.models.attention import CausalMask
from videogpt_jax.models.placement import constrain
from videogpt_jax.models.transformer import PriorConfig

Cache = list[tuple[jax.Array, jax.Array]]
"""For each block, keys and values [B N d S]: the long cache."""

Local = list[tuple[jax.Array, jax.Array]]
"""For each block, keys and values [B N C d]: the small one, of a chunk."""


class View(NamedTuple):
  """What a chunk of codes may read of the long cache.

  Attributes:
    cache: keys and values [B N d S] of each block.
    positions: int32 [S], of its entries; those that are not before the chunk do not count.
  """

  cache: Cache
  positions: jax.Array


def empty(config: PriorConfig, batch_size: int, length: int) -> Cache:
  """Returns a cache of zeros, in the type that the prior computes in."""
  return _zeros(config, (batch_size, config.n_heads, config.head_size, length), 'B N d S')


def empty_local(config: PriorConfig, batch_size: int, chunk: int) -> Local:
  """Returns a chunk's cache of zeros, likewise."""
  return _zeros(config, (batch_size, config.n_heads, chunk, config.head_size), 'B N S d')


def _zeros(config: PriorConfig, shape: tuple[int, ...], axes: str):
  zeros = lambda: constrain(jnp.zeros(shape, config.dtype), axes)
  return [(zeros(), zeros()) for _ in range(config.n_layers)]


def grow(cache: Cache, length: int) -> Cache:
  """Returns the cache with room for `length` positions."""
  return jax.tree.map(
    lambda a: jnp.pad(a, [(0, 0), (0, 0), (0, 0), (0, length - a.shape[3])]), cache
  )


def put(
  own: tuple[jax.Array, jax.Array], new: tuple[jax.Array, jax.Array], index: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns a block's local keys and values with new ones [B Q N d] in them, from `index` on."""

  def put_one(a, b):
    b = rearrange(b, 'B Q N d -> B N Q d')
    return jax.lax.dynamic_update_slice_in_dim(a, b, index, axis=2)

  return jax.tree.map(put_one, own, new)


def merge(cache: Cache, local: Local, start: jax.Array) -> Cache:
  """Returns the cache with a chunk in it, from the position `start` on."""

  def merge_one(a, b):
    b = rearrange(b, 'B N C d -> B N d C')
    return jax.lax.dynamic_update_slice_in_dim(a, b, start, axis=3)

  return jax.tree.map(merge_one, cache, local)


def view(cache: Cache, mask: CausalMask, start: jax.Array, chunk: int) -> View:
  """Returns what the chunk that begins at `start` may read of the long cache.

  Of a sparse layout those are the blocks that it admits, gathered once for the whole chunk, which
  must lie in one block.
  """
  S = cache[0][0].shape[3]
  if mask.layout is None:
    return View(cache, jnp.arange(S))
  # The chunk's own block is only in the long cache where it has more chunks than one.
  wanted = jnp.asarray(_blocks_to_read(mask.layout, own=mask.block > chunk))[start // mask.block]
  inside = jnp.arange(mask.block)
  positions = jnp.where(wanted[:, None] < 0, S, wanted[:, None] * mask.block + inside)

  def gather(a):
    parts = rearrange(a, 'B N d (b i) -> B N d b i', i=mask.block)
    parts = jnp.take(parts, jnp.maximum(wanted, 0), axis=3)
    return rearrange(parts, 'B N d b i -> B N d (b i)')

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
    prefix: keys and values [B N d S].
    local: keys and values [B N C d].
    admitted: bool [S] and [Q C], which of these count; of each query's at least one.
  Returns:
    [B Q N d].
  """

  multiply = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)

  def attend_one(q, own):
    """[B N d] and bool [C] -> [B N d]."""
    q = q * q.shape[-1] ** -0.5
    runs = (*prefix, 'BNdS'), (*local, 'BNSd')
    scores = [
      jnp.where(mask, multiply(f'BNd,{axes}->BNS', q, k), -jnp.inf)
      for mask, (k, _, axes) in zip((admitted[0], own), runs, strict=True)
    ]
    highest = jnp.maximum(*(jnp.max(s, axis=-1, keepdims=True) for s in scores))
    weights = [jnp.exp(s - highest) for s in scores]
    total = sum(jnp.sum(w, axis=-1, keepdims=True) for w in weights)
    y = sum(
      multiply(f'BNS,{axes}->BNd', w.astype(v.dtype), v)
      for w, (_, v, axes) in zip(weights, runs, strict=True)
    )
    return (y / total).astype(q.dtype)

  if q.shape[1] == 1:  # with an axis more, XLA's CPU backend transposes a whole cache at every step
    return attend_one(q[:, 0], admitted[1][0])[:, None]
  return jax.vmap(attend_one, in_axes=(1, 0), out_axes=1)(q, admitted[1])
