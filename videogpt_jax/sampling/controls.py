"""From logits to a code: greedy, temperature, top-k, top-p.

Axis letters: B batch; K n_codes.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Controls:
  """How a code is drawn. What is None is not compiled; values can change without compiling anew.

  Attributes:
    temperature: divides the logits; None takes the most likely code (greedy).
    top_k: only so many of the most likely codes remain.
    top_p: only the most likely codes that together reach this probability remain.
    guidance: how far the logits go from those without a condition (0) to those with it (1), and
      beyond; None leaves the former out.
  """

  temperature: float | jax.Array | None = 1.0
  top_k: int | jax.Array | None = None
  top_p: float | jax.Array | None = None
  guidance: float | jax.Array | None = None

  def guide(self, logits: jax.Array) -> jax.Array:
    """Returns the logits to draw from, float32 [B K].

    Args:
      logits: float32 [B K], or with guidance [2 B K]: with their conditions, then without.
    Source: Ho and Salimans 2022 (arXiv 2207.12598), eq. 6 with w = guidance - 1.
    """
    if self.guidance is None:
      return logits
    conditional, free = jnp.split(logits, 2)
    return free + self.guidance * (conditional - free)

  def draw(self, logits: jax.Array, keys: jax.Array) -> jax.Array:
    """Draws a code for each video from its own key.

    Args:
      logits: float32 [B K].
      keys: PRNG keys [B].
    Returns:
      int32 [B].
    """
    if self.temperature is None:
      return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = self.filter(logits / self.temperature)
    return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)

  def filter(self, logits: jax.Array) -> jax.Array:
    """Returns the logits with those that top-k and top-p rule out at -inf.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2019 (top-p).
    """
    if self.top_k is None and self.top_p is None:
      return logits
    descending = jnp.sort(logits, axis=-1, descending=True)
    threshold = jnp.full((logits.shape[0], 1), -jnp.inf)
    if self.top_k is not None:
      threshold = jnp.take(descending, jnp.asarray([self.top_k]) - 1, axis=-1)
      descending = jnp.where(descending >= threshold, descending, -jnp.inf)
    if self.top_p is not None:
      p = jax.nn.softmax(descending, axis=-1)
      before = jnp.cumsum(p, axis=-1) - p  # the most likely code always remains
      kept = jnp.where(before < self.top_p, descending, jnp.inf)
      threshold = jnp.maximum(threshold, kept.min(axis=-1, keepdims=True))
    return jnp.where(logits >= threshold, logits, -jnp.inf)


def make_controls(
  n_codes: int,
  temperature: float = 1.0,
  top_k: int | None = None,
  top_p: float | None = None,
  guidance: float = 1.0,
) -> Controls:
  """Returns the controls; temperature 0 is greedy, guidance 1 is none.

  Raises:
    ValueError: temperature or guidance is negative, top_k is not in [1, n_codes] or top_p not in
      (0, 1].
  """
  if not 0 <= temperature < math.inf:
    raise ValueError(f'temperature ({temperature}) must not be negative, and finite; 0 is greedy')
  if top_k is not None and not (1 <= top_k <= n_codes and top_k == int(top_k)):
    raise ValueError(f'top_k ({top_k}) must be in [1, {n_codes}], a whole number of codes')
  if top_p is not None and not 0 < top_p <= 1:
    raise ValueError(f'top_p ({top_p}) must be in (0, 1]')
  if not 0 <= guidance < math.inf:
    raise ValueError(f'guidance ({guidance}) must be 0 or more; 1 is none, 2 to 4 are usual')
  top_k = None if top_k is None else int(top_k)
  return Controls(temperature or None, top_k, top_p, None if guidance == 1 else guidance)
