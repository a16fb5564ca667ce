"""Finite scalar quantization: each entry of a latent is rounded to one of a few levels.

Axis letters: e entries of a latent; L levels of an entry.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.models.quantizers.base import QuantizerConfig
from videogpt_jax.models.quantizers.grid import GridQuantizer

FSQ_BOUNDS = ('tanh', 'clip')
"""How entries are kept in an interval."""


class FSQQuantizer(GridQuantizer):
  """Bounds entry i to an interval that holds `levels[i]` integers, and rounds.

  With h = (L - 1) (1 - EPSILON) / 2, and with o = 0 for odd and 1/2 for even L:

    f(z) = h tanh(z + tan(o / h)) - o
    z_hat = round(f(z)), in {-floor(L / 2), ..., ceil(L / 2) - 1}

  Vectors are z_hat / floor(L / 2). The first level is the least significant digit of a code.

  With the bound 'clip', f(z) = (1 - EPSILON) clip(z, -1, 1) L / 2 - o instead: L steps of the same
  width, and the outermost two take all that lies beyond. tanh hardly reaches these with many levels
  (64 of them need |z| > 2.4, where its slope is 0.03).

  Source: Mentzer et al. 2023 (arXiv 2309.15505), section 3.1, which leaves the bound open, and the
  listing of its appendix, whose shift (tan, not its inverse of tanh) and digits are kept.
  """

  EPSILON = 1e-3  # keeps an entry from the edge, where odd levels would round to one more

  @classmethod
  def check(cls, config: QuantizerConfig):
    super().check(config)
    levels = config.levels
    if not levels or min(levels) < 2:
      raise UserError(
        f'vqvae.levels {levels} must be numbers from 2 on, one for each entry of a code; '
        'for example (8, 8, 8, 8)'
      )
    if config.bound not in FSQ_BOUNDS:
      raise UserError(f'vqvae.bound {config.bound!r} is not one of {FSQ_BOUNDS}')
    wanted = {'n_codes': math.prod(levels), 'embedding_dim': len(levels) * config.n_codebooks}
    for name, size in wanted.items():
      if getattr(config, name) != size:
        raise UserError(
          f'vqvae.{name} ({getattr(config, name)}) must be {size} with vqvae.levels {levels}; '
          f'set --config.vqvae.{name}={size}'
        )

  @classmethod
  def digits(cls, config: QuantizerConfig) -> tuple[int, ...]:
    return config.levels

  def bound(self, z: jax.Array) -> jax.Array:
    levels = np.asarray(self.sizes)
    offset = np.where(levels % 2, 0, 0.5)
    if self.config.bound == 'clip':
      half = levels * (1 - self.EPSILON) / 2
      return (jnp.clip(z, -1, 1) * half - offset) / (levels // 2)
    half = (levels - 1) * (1 - self.EPSILON) / 2
    return (jnp.tanh(z + np.tan(offset / half)) * half - offset) / (levels // 2)

  def steps(self, bounded: jax.Array) -> jax.Array:
    half_width = np.asarray(self.sizes) // 2
    return jnp.round(bounded * half_width).astype(jnp.int32) + half_width

  def values(self, steps: jax.Array) -> jax.Array:
    half_width = np.asarray(self.sizes) // 2
    return (steps - half_width).astype(jnp.float32) / half_width
