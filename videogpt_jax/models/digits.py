"""Codes as numbers of several digits: the levels or bits of a quantizer, the factors of a prior.

Digits are the last axis, the least significant first; digit i is in [0, sizes[i]).
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def to_digits(codes: jax.Array, sizes: Sequence[int]) -> jax.Array:
  """Returns the digits int32 [... n] of codes int32 [...] in [0, product of the sizes)."""
  return codes[..., None] // jnp.asarray(_places(sizes)) % jnp.asarray(sizes, jnp.int32)


def from_digits(digits: jax.Array, sizes: Sequence[int]) -> jax.Array:
  """Returns the codes int32 [...] of digits int32 [... n]."""
  return jnp.sum(digits * jnp.asarray(_places(sizes)), axis=-1, dtype=jnp.int32)


def _places(sizes: Sequence[int]) -> np.ndarray:
  """Returns what each digit counts for, int32 [n]."""
  return np.asarray([math.prod(sizes[:i]) for i in range(len(sizes))], np.int32)
