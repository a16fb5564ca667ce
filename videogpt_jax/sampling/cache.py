"""The KV cache, in two levels.

XLA copies a cache that one scan body both writes and reads, whole, at every step. So there are two:
the inner loop only reads the long cache and writes the local one of the current chunk; one softmax
runs over both; the outer loop merges them.

Positions are the last axis of the long cache, since CPUs read long rows at the memory's speed. The
local cache is written a position at a time; there they are the last but one.

Axis letters: B rows; N heads; S entries that are read; C chunk length; Q queries; d head size.
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
"""The long cache: keys and values [B N d S] for each block."""

Local = list[tuple[jax.Array, jax.Array]]
"""The local cache of a chunk: keys and values [B N C d] for each block."""


class View(NamedTuple):
  """The part of the long cache that a chunk of codes may read.

  Attributes:
    cache: keys and values [B N d S] for each block.
    positions: int32 [S], or [B S], of its entries; those not before the chunk do not count.
  """

  cache: Cache
  positions: jax.Array


def empty(config: PriorConfig, batch_size: int, length: int) -> Cache:
  """Returns a cache of zeros, in the type that the prior computes in."""
  return _zeros(config, (batch_size, config.n_heads, config.head_size, length), 'B N d S')


def empty_local(config: PriorConfig, batch_size: int, chunk: int) -> Local:
  """Returns a local cache of zeros, likewise."""
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
  """Writes new keys and values [B Q N d] into a block's local ones, from `index` on.

  Args:
    own: keys and values [B N C d].
    new: keys and values [B Q N d].
    index: int32 scalar, or [B], one a row.
  """

  def put_one(a, b):
    b = rearrange(b, 'B Q N d -> B N Q d')
    write = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=b.ndim - 2 - index.ndim)
    return jax.vmap(write)(a, b, index) if index.ndim else write(a, b, index)

  return jax.tree.map(put_one, own, new)


def merge(cache: Cache, local: Local, start: jax.Array) -> Cache:
  """Returns the cache with a chunk in it, from the position `start` on: a scalar, or [B]."""

  def merge_one(a, b):
    b = rearrange(b, 'B N C d -> B N d C')
    write = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=3 - start.ndim)
    return jax.vmap(write)(a, b, start) if start.ndim else write(a, b, start)

  return jax.tree.map(merge_one, cache, local)


def local_part(cache: Cache, start: jax.Array, chunk: int) -> Local:
  """Returns what the cache holds of a chunk from the position `start` on: a scalar, or [B]."""

  def read_one(a):
    read = lambda a, start: jax.lax.dynamic_slice_in_dim(a, start, chunk, axis=a.ndim - 1)
    part = jax.vmap(read)(a, start) if start.ndim else read(a, start)
    return rearrange(part, 'B N d C -> B N C d')

  return jax.tree.map(read_one, cache)


def view(cache: Cache, mask: CausalMask, start: jax.Array, chunk: int) -> View:
  """Returns the part of the long cache that the chunk which begins at `start` may read.

  A sparse layout admits some blocks; they are gathered once for the whole chunk, which must lie in
  one block. With a `start` for each row, int32 [B], so are they, and positions are [B S].
  """
  S = cache[0][0].shape[3]
  if mask.layout is None:
    return View(cache, jnp.arange(S))
  # The chunk's own block is only in the long cache where it has more chunks than one.
  table = jnp.asarray(_blocks_to_read(mask.layout, own=mask.block > chunk))
  wanted = table[start // mask.block]
  positions = jnp.where(wanted < 0, S // mask.block, wanted)[..., None] * mask.block
  positions += jnp.arange(mask.block)

  def gather(a):
    parts = rearrange(a, 'B N d (b i) -> B N d b i', i=mask.block)
    take = lambda parts, wanted: jnp.take(parts, wanted, axis=parts.ndim - 2)
    take = jax.vmap(take) if start.ndim else take
    return rearrange(take(parts, jnp.maximum(wanted, 0)), 'B N d b i -> B N d (b i)')

  return View(jax.tree.map(gather, cache), rearrange(positions, '... b i -> ... (b i)'))


def _blocks_to_read(layout: np.ndarray, own: bool) -> np.ndarray:
  """Returns for each block which earlier ones it attends to, and itself: int32 [n m], -1 fills."""
  rows = [np.flatnonzero(row) for row in np.tril(layout, 0 if own else -1)]
  most = max(1, *map(len, rows))  # a window of a single block reads none, but arrays are not empty
  blocks = np.full((len(rows), most), -1, np.int32)
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
    admitted: bool [S] and [Q C], which of these count, or [B S] and [B Q C], for each row; at least
      one for each query.
  Returns:
    [B Q N d].
  """
  prefix_mask, own_mask = admitted
  if q.shape[1] == 1:  # with an axis more, XLA's CPU backend transposes a whole cache at every step
    own_mask = own_mask[..., 0, :]
    masks = (mask if mask.ndim == 1 else mask[:, None] for mask in (prefix_mask, own_mask))
    return _attend('BNd', q[:, 0], prefix, local, tuple(masks))[:, None]
  prefix_mask = prefix_mask if prefix_mask.ndim == 1 else prefix_mask[:, None, None]
  own_mask = own_mask if own_mask.ndim == 2 else own_mask[:, None]
  y = _attend('BNQd', rearrange(q, 'B Q N d -> B N Q d'), prefix, local, (prefix_mask, own_mask))
  return rearrange(y, 'B N Q d -> B Q N d')


def _attend(rows: str, q: jax.Array, prefix, local, masks) -> jax.Array:
  """`attend` for q with the axes `rows`; masks fit the scores, which have S in place of d."""
  multiply = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  out = rows.replace('d', 'S')
  q = q * q.shape[-1] ** -0.5
  runs = (*prefix, 'BNdS'), (*local, 'BNSd')
  scores = [
    jnp.where(mask, multiply(f'{rows},{axes}->{out}', q, k), -jnp.inf)
    for mask, (k, _, axes) in zip(masks, runs, strict=True)
  ]
  highest = jnp.maximum(*(jnp.max(s, axis=-1, keepdims=True) for s in scores))
  weights = [jnp.exp(s - highest) for s in scores]
  total = sum(jnp.sum(w, axis=-1, keepdims=True) for w in weights)
  y = sum(
    multiply(f'{out},{axes}->{rows}', w.astype(v.dtype), v)
    for w, (_, v, axes) in zip(weights, runs, strict=True)
  )
  return (y / total).astype(q.dtype)
