"""Quantizers whose codes are the points of a fixed grid: nothing is learnt, nothing collapses.

Axis letters: B batch; t h w latent grid; G n_codebooks; K n_codes; E embedding_dim; e = E / G.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.digits import from_digits, to_digits
from videogpt_jax.models.quantizers.base import (
  Quantized,
  Quantizer,
  QuantizerConfig,
  frequencies_of,
  perplexity,
)


class GridQuantizer(Quantizer):
  """Rounds each entry of a latent on its own: a code's digits are the steps of its entries.

  A subclass says how entries are bounded and rounded, and what it adds to the loss.

  Attributes:
    sizes: of the digits, one for each of the e entries.
  """

  def __init__(self, config: QuantizerConfig, *, rngs: nnx.Rngs):
    super().__init__(config, rngs=rngs)
    self.config, self.sizes = config, self.digits(config)

  def bound(self, z: jax.Array) -> jax.Array:
    """Returns what is rounded, and what gradients pass through: float32 [... e] of z [... e]."""
    raise NotImplementedError

  def steps(self, bounded: jax.Array) -> jax.Array:
    """Returns the digits, int32 [... e], of bounded latents [... e]."""
    raise NotImplementedError

  def values(self, steps: jax.Array) -> jax.Array:
    """Returns the vectors, float32 [... e], of digits int32 [... e]."""
    raise NotImplementedError

  def terms(
    self, bounded: jax.Array, values: jax.Array
  ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Returns losses and statistics by name, of bounded latents and their vectors [n e]."""
    return {}, {}

  def nearest(self, z: jax.Array) -> jax.Array:
    codes = from_digits(self.steps(self.bound(self._groups(z))), self.sizes)
    return codes[..., 0] if self.n_codebooks == 1 else codes

  def lookup(self, codes: jax.Array, group: jax.Array | None = None) -> jax.Array:
    return self.values(to_digits(codes, self.sizes))

  def __call__(self, z: jax.Array, key: jax.Array | None) -> Quantized:
    """Quantises z [B t h w E]; the same in training and evaluation.

    Returns:
      losses and statistics: those of `terms`, and `batch_codebook_perplexity` in [1, K].
    """
    bounded = self.bound(self._groups(z))
    steps = self.steps(bounded)
    values = self.values(steps)
    codes = from_digits(steps, self.sizes)
    codes = codes[..., 0] if self.n_codebooks == 1 else codes
    losses, statistics = self.terms(*(x.reshape(-1, self.code_dim) for x in (bounded, values)))
    used = {'batch_codebook_perplexity': perplexity(frequencies_of(codes, self.config))}
    through = bounded + jax.lax.stop_gradient(values - bounded)
    return Quantized(through.reshape(z.shape), codes, losses, statistics | used)

  def _groups(self, z: jax.Array) -> jax.Array:
    return rearrange(z.astype(jnp.float32), '... (G e) -> ... G e', G=self.n_codebooks)
