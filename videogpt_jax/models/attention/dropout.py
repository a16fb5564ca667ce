"""Dropout: which weights (or activations) are kept follows from their place alone.

So any kernel, in any order and on any share of heads and clips, drops the same weights, forward and
again backward, and none of them stores a mask.

Axis letters: B batch; N heads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Dropout(NamedTuple):
  """Which weights are dropped.

  Attributes:
    rate: the probability to be dropped; the others are scaled up by 1 / (1 - rate).
    seeds: uint32 [B N], one for each clip and head; of activations [B].
  """

  rate: float
  seeds: jax.Array

  def keep(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns bool [*seeds.shape, *places]: True where a weight stays.

    Args:
      queries, keys: int32 positions, of one shape [places] together by broadcasting.
    """
    places = max(queries.ndim, keys.ndim)
    return keep(self.rate, self.seeds.reshape(*self.seeds.shape, *(1,) * places), queries, keys)


def keep(rate: float, seeds: jax.Array, queries: jax.Array, keys: jax.Array) -> jax.Array:
  """Returns bool, True where a weight stays; seeds and positions are broadcast together."""
  rows = _mix(seeds + queries.astype(jnp.uint32))
  return _mix(rows ^ keys.astype(jnp.uint32)) >= jnp.uint32(round(rate * 2**32))


def make_dropout(rate: float, key: jax.Array | None, n_clips: int, n_heads: int) -> Dropout | None:
  """Returns the dropout of one layer and step; None without a key or with rate 0."""
  if key is None or rate == 0:
    return None
  return Dropout(rate, jax.random.bits(key, (n_clips, n_heads), jnp.uint32))


def _mix(x: jax.Array) -> jax.Array:
  """A bijection of uint32 in which each bit of x moves each bit of the result half of the time.

  Source: Wellons 2018, "Prospecting for hash functions", lowbias32; it costs a tenth of threefry.
  """
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)
