"""The factors of a code: a prior over a large vocabulary predicts groups of digits, each apart.

A head with a logit for each of 2^18 codes would be larger than the rest of a prior. Two factors of
2^9 have 1,024 logits. Factors are independent given the codes before.

Axis letters: K n_codes; F factors; k logits, the sum of the factors' sizes.

Source: Yu et al. 2023 (MAGVIT-v2, arXiv 2310.05737), section 3.1, token factorization.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.models.digits import from_digits, to_digits

LARGEST = 2**14
"""Codes of a single factor, at most, where `prior.n_factors` leaves the choice."""


@dataclasses.dataclass(frozen=True)
class CodeFactors:
  """How a code divides into factors, and what the logits of a prior stand for.

  Attributes:
    sizes: of the factors, the least significant first; their product is K.
  """

  sizes: tuple[int, ...]

  @property
  def n_logits(self) -> int:
    """Returns k."""
    return sum(self.sizes)

  def parts(self, logits: jax.Array) -> list[jax.Array]:
    """Returns the logits of each factor, [... size], of logits [... k]."""
    return jnp.split(logits, list(itertools.accumulate(self.sizes))[:-1], axis=-1)

  def log_p(self, logits: jax.Array, codes: jax.Array) -> jax.Array:
    """Returns the log-likelihood of codes, float32 [...] nats.

    Args:
      logits: float32 [... k].
      codes: int32 [...].
    """
    digits = to_digits(codes, self.sizes)
    each = [
      jnp.take_along_axis(jax.nn.log_softmax(part), digits[..., f : f + 1], axis=-1)[..., 0]
      for f, part in enumerate(self.parts(logits))
    ]
    return sum(each[1:], each[0])

  def draw(
    self, draw: Callable[[jax.Array, jax.Array], jax.Array], logits: jax.Array, keys: jax.Array
  ) -> jax.Array:
    """Draws a code for each row of logits.

    Args:
      draw: from logits float32 [B size] and PRNG keys [B] to int32 [B].
      logits: float32 [B k].
      keys: PRNG keys [B].
    Returns:
      int32 [B].
    """
    if len(self.sizes) == 1:
      return draw(logits, keys)
    fold = jax.vmap(jax.random.fold_in, (0, None))
    drawn = [draw(part, fold(keys, f)) for f, part in enumerate(self.parts(logits))]
    return from_digits(jnp.stack(drawn, axis=-1), self.sizes)


def code_factors(n_factors: int, digits: Sequence[int]) -> CodeFactors:
  """Returns the factors of a code.

  Args:
    n_factors: F; 0 takes as few as have at most `LARGEST` codes each.
    digits: sizes of the code's digits, see `Quantizer.digits`; factors are consecutive ones.
  Raises:
    UserError: the code has fewer digits.
  """
  if n_factors > len(digits):
    raise UserError(
      f'prior.n_factors ({n_factors}) must be at most {len(digits)}, the digits of a code of this '
      'tokenizer; the bits of lfq and bsq and the levels of fsq can be divided'
    )
  wanted = [n_factors] if n_factors else range(1, len(digits) + 1)
  sizes = [
    tuple(math.prod(digits[i] for i in part) for part in np.array_split(range(len(digits)), n))
    for n in wanted
  ]
  return CodeFactors(next((s for s in sizes if max(s) <= LARGEST), sizes[-1]))
