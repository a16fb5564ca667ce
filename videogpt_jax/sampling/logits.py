"""From logits to a code: greedy, temperature, top-k, top-p, guidance.

Axis letters: B batch; K logits of a code, or of one of its factors.
"""

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Controls:
  """Controls of drawing a code. None leaves a step out of the compiled program; other values may
  change without recompiling.

  Attributes:
    temperature: divides the logits; None takes the most likely code (greedy).
    top_k: keeps only this many of the most likely codes; of a factor that has no more, all.
    top_p: only the most likely codes that together reach this probability remain.
    guidance: extrapolates from the logits without a condition (0) through those with it (1); None
      does without the former.
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
      last = jnp.minimum(self.top_k, logits.shape[-1]) - 1
      threshold = jnp.take(descending, last[None], axis=-1)
      descending = jnp.where(descending >= threshold, descending, -jnp.inf)
    if self.top_p is not None:
      p = jax.nn.softmax(descending, axis=-1)
      before = jnp.cumsum(p, axis=-1) - p  # the most likely code always remains
      kept = jnp.where(before < self.top_p, descending, jnp.inf)
      threshold = jnp.maximum(threshold, kept.min(axis=-1, keepdims=True))
    return jnp.where(logits >= threshold, logits, -jnp.inf)
