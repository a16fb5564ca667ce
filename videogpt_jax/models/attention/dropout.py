"""Dropout by a hash of positions: whether a weight (or activation) is kept depends on these alone.

Every kernel, in any order and on any shard of heads and clips, therefore drops the same weights in
its forward and backward passes, and none stores a mask.

Axis letters: B batch; N heads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Dropout(NamedTuple):
  """The dropout of one layer and step.

  Attributes:
    rate: probability that a weight is dropped; the others are scaled by 1 / (1 - rate).
    seeds: uint32 [B N], one for each clip and head, or [B] for activations.
  """

  rate: float
  seeds: jax.Array

  def keep(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns bool [*seeds.shape *shape]: whether each weight is kept.

    Args:
      queries, keys: int32 positions, broadcast to one shape.
    """
    n_axes = max(queries.ndim, keys.ndim)
    return keep(self.rate, self.seeds.reshape(*self.seeds.shape, *(1,) * n_axes), queries, keys)


def keep(rate: float, seeds: jax.Array, queries: jax.Array, keys: jax.Array) -> jax.Array:
  """Returns whether each weight is kept, bool; seeds and positions are broadcast together."""
  rows = _mix(seeds + queries.astype(jnp.uint32))
  return _mix(rows ^ keys.astype(jnp.uint32)) >= jnp.uint32(round(rate * 2**32))


def make_dropout(rate: float, key: jax.Array | None, n_clips: int, n_heads: int) -> Dropout | None:
  """Returns the dropout of one layer and step, or None without a key or with rate 0."""
  if key is None or rate == 0:
    return None
  return Dropout(rate, jax.random.bits(key, (n_clips, n_heads), jnp.uint32))


def _mix(x: jax.Array) -> jax.Array:
  """Hashes uint32 bijectively; flipping a bit of x flips each bit of the hash half of the time.

  Source: Wellons 2018, "Prospecting for hash functions", lowbias32. It costs a tenth of threefry.
  """
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)
