"""Norms of the prior: the published layer norm and RMS norm, each with an optional condition.

Axis letters: B batch; L codes; D channels; C size of the condition, n of these a clip; N heads;
d head size.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.layers import Linear


class LayerNorm(nnx.Module):
  """Layer norm; with a condition c, its gain is `1 + W c` and its bias `W_b c`.

  Epsilon is outside the root, as in the published implementation:
  `(x - mean) * (EPSILON + rsqrt(var))`.
  """

  EPSILON = 1e-5
  HAS_BIAS = True

  def __init__(self, n_channels: int, cond_dim: int, *, rngs: nnx.Rngs):
    self.cond_dim = cond_dim
    if cond_dim:
      self.gain = Linear(cond_dim, n_channels, stddev=0, use_bias=False, rngs=rngs)
      self.gain.kernel[...] += cond_dim**-0.5
      self.shift = Linear(
        cond_dim, n_channels, stddev=(3 * cond_dim) ** -0.5, use_bias=False, rngs=rngs
      )
    else:
      self.scale = nnx.Param(jnp.ones(n_channels))
      if self.HAS_BIAS:
        self.bias = nnx.Param(jnp.zeros(n_channels))

  def __call__(self, x: jax.Array, cond: jax.Array | None) -> jax.Array:
    """x [B L D], cond [B n C] or None -> [B L D]."""
    y = self.normalise(x.astype(jnp.float32))
    if not self.cond_dim:
      y = y * self.scale[...]
      return (y + self.bias[...] if self.HAS_BIAS else y).astype(x.dtype)
    gain, shift = 1 + self.gain(cond), self.shift(cond)
    y = rearrange(y, 'B (n l) D -> B n l D', n=cond.shape[1])
    return (y * gain[:, :, None] + shift[:, :, None]).reshape(x.shape).astype(x.dtype)

  def normalise(self, x: jax.Array) -> jax.Array:
    """float32 [B L D] -> [B L D], before gain and bias."""
    mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
    return (x - mean) * (self.EPSILON + jax.lax.rsqrt(var))


class RMSNorm(LayerNorm):
  """RMS norm; without a condition it has no bias.

  With a condition it keeps the bias `W_b c`, through which a class reaches the block.

  Source: Zhang and Sennrich 2019 (arXiv 1910.07467), eq. 4.
  """

  HAS_BIAS = False

  def normalise(self, x: jax.Array) -> jax.Array:
    return rms_normalise(x)


NORMS = {'layer': LayerNorm, 'rms': RMSNorm}
"""Norms before each part of a block and before the logits, by name: the values of `prior.norm`."""


class HeadNorm(nnx.Module):
  """RMS norm of the queries or keys of each head, with one gain for all heads.

  Source: Dehghani et al. 2023 (arXiv 2302.05442), section 2; Henry et al. 2020 (2010.04245).
  """

  def __init__(self, head_size: int):
    self.scale = nnx.Param(jnp.ones(head_size))

  def __call__(self, x: jax.Array) -> jax.Array:
    """[B L N d] -> [B L N d]."""
    return (rms_normalise(x.astype(jnp.float32)) * self.scale[...]).astype(x.dtype)


def rms_normalise(x: jax.Array, epsilon: float = 1e-6) -> jax.Array:
  """Divides by the root of the mean square over the last axis."""
  return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + epsilon)
