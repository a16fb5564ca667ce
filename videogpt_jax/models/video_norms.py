"""Norms of networks on video: over the batch, or over each frame or position.

Axis letters: B batch; T H W frames, height, width (or t h w, the latent grid); C channels.
"""

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx


class BatchNorm(nnx.Module):
  """Batch norm over all axes but the last, with statistics in float32.

  Under `jit` the batch is the global one, and so are its statistics. As in PyTorch, the running
  averages move by `MOMENTUM` and the running variance is the unbiased one.
  """

  EPSILON = 1e-5
  MOMENTUM = 0.1

  def __init__(self, n_channels: int):
    self.scale = nnx.Param(jnp.ones(n_channels))
    self.bias = nnx.Param(jnp.zeros(n_channels))
    self.mean = nnx.BatchStat(jnp.zeros(n_channels))
    self.var = nnx.BatchStat(jnp.ones(n_channels))

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """[B T H W C] -> [B T H W C], in x's dtype; training updates the running averages."""
    mean, var = self.mean[...], self.var[...]
    if train:
      axes = tuple(range(x.ndim - 1))
      x32 = x.astype(jnp.float32)
      mean, var = jnp.mean(x32, axes), jnp.var(x32, axes)
      n = x.size // x.shape[-1]
      self.mean[...] += self.MOMENTUM * (mean - self.mean[...])
      self.var[...] += self.MOMENTUM * (var * n / (n - 1) - self.var[...])
    gain = self.scale[...] * jax.lax.rsqrt(var + self.EPSILON)
    return (x * gain + (self.bias[...] - mean * gain)).astype(x.dtype)


class ChannelNorm(nnx.Module):
  """Layer norm over channels, with statistics in float32 and epsilon inside the root.

  Each position is normalised on its own, so that no frame depends on a later one.
  """

  EPSILON = 1e-5

  def __init__(self, n_channels: int):
    self.scale = nnx.Param(jnp.ones(n_channels))
    self.bias = nnx.Param(jnp.zeros(n_channels))

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """[B T H W C] -> [B T H W C], in x's dtype; the same in training and evaluation."""
    x32 = x.astype(jnp.float32)
    mean, var = jnp.mean(x32, -1, keepdims=True), jnp.var(x32, -1, keepdims=True)
    y = (x32 - mean) * jax.lax.rsqrt(var + self.EPSILON)
    return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class RMSNorm(nnx.Module):
  """Divides each position by the root of the mean square over its channels; no bias.

  Source: Zhang and Sennrich 2019 (arXiv 1910.07467).
  """

  EPSILON = 1e-6

  def __init__(self, n_channels: int):
    self.scale = nnx.Param(jnp.ones(n_channels))

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """[B T H W C] -> [B T H W C], in x's dtype; the same in training and evaluation."""
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x32), -1, keepdims=True)
    return (x32 * jax.lax.rsqrt(mean_square + self.EPSILON) * self.scale[...]).astype(x.dtype)


class GroupNorm(nnx.Module):
  """Group norm of each frame on its own: over H, W and a group of channels.

  There are 32 groups, or as many of the divisors of 32 as divide the channels.

  Source: Wu and He 2018 (arXiv 1803.08494); a frame at a time, so that none depends on another.
  """

  EPSILON = 1e-5
  GROUPS = 32

  def __init__(self, n_channels: int):
    self.n_groups = math.gcd(n_channels, self.GROUPS)
    self.scale = nnx.Param(jnp.ones(n_channels))
    self.bias = nnx.Param(jnp.zeros(n_channels))

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """[B T H W C] -> [B T H W C], in x's dtype; the same in training and evaluation."""
    groups = rearrange(x.astype(jnp.float32), 'B T H W (G c) -> B T H W G c', G=self.n_groups)
    mean, var = (f(groups, (2, 3, 5), keepdims=True) for f in (jnp.mean, jnp.var))
    y = ((groups - mean) * jax.lax.rsqrt(var + self.EPSILON)).reshape(x.shape)
    return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


VIDEO_NORMS: dict[str, type[nnx.Module]] = {
  'batch': BatchNorm,
  'channel': ChannelNorm,
  'group': GroupNorm,
  'rms': RMSNorm,
}
"""Norms of the VQ-VAE by name, the values of `vqvae.norm`: built from a number of channels."""
