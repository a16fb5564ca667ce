"""The 3-D ResNet that turns conditioning frames into what the prior cross-attends to.

Axis letters: B batch; T H W frames, height, width; C channels.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.models.layers import Conv3D, Size3

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Residual blocks in each of the four groups, by depth. Source: He et al. 2015, table 1."""

STRIDES: tuple[Size3, ...] = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 1, 1))
"""Of the four groups: 4 in space, none in time."""


class ChannelNorm(nnx.Module):
  """Layer norm over channels, statistics in float32; epsilon inside the root."""

  EPSILON = 1e-5

  def __init__(self, n_channels: int):
    self.scale = nnx.Param(jnp.ones(n_channels))
    self.bias = nnx.Param(jnp.zeros(n_channels))

  def __call__(self, x: jax.Array) -> jax.Array:
    x32 = x.astype(jnp.float32)
    mean, var = jnp.mean(x32, -1, keepdims=True), jnp.var(x32, -1, keepdims=True)
    y = (x32 - mean) * jax.lax.rsqrt(var + self.EPSILON)
    return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class ResNetBlock(nnx.Module):
  """Two 3x3x3 convolutions and a shortcut, projected where `project`."""

  def __init__(self, n_in: int, n_out: int, stride: Size3, project: bool, *, rngs: nnx.Rngs):
    def conv(n_in, kernel_size, stride):
      edge = [(kernel_size // 2,) * 2] * 3
      return Conv3D(
        n_in, n_out, kernel_size, stride=stride, padding=edge, use_bias=False, rngs=rngs
      )

    self.project = project
    if project:
      self.proj_conv, self.proj_norm = conv(n_in, 1, stride), ChannelNorm(n_out)
    self.conv1, self.norm1 = conv(n_in, 3, stride), ChannelNorm(n_out)
    self.conv2, self.norm2 = conv(n_out, 3, (1, 1, 1)), ChannelNorm(n_out)

  def __call__(self, x: jax.Array) -> jax.Array:
    shortcut = self.proj_norm(self.proj_conv(x)) if self.project else x
    h = nnx.relu(self.norm1(self.conv1(x)))
    h = nnx.relu(self.norm2(self.conv2(h)))  # here too, unlike He et al., as published
    return nnx.relu(h + shortcut)


class ResNet(nnx.Module):
  """[B T H W 3] -> [B T H/4 W/4 C].

  Args:
    depth: 18 or 34.
    n_channels: C, of the last group; the groups before have 64, 128 and 256.
  """

  def __init__(self, depth: int, n_channels: int, *, rngs: nnx.Rngs):
    widths = (64, 64, 128, 256, n_channels)
    self.stem = Conv3D(3, widths[0], 3, padding=[(1, 1)] * 3, use_bias=False, rngs=rngs)
    self.stem_norm = ChannelNorm(widths[0])
    self.groups = nnx.List(
      [
        nnx.List(
          [
            ResNetBlock(
              widths[i + 1] if j else widths[i],
              widths[i + 1],
              (1, 1, 1) if j else STRIDES[i],
              project=j == 0,
              rngs=rngs,
            )
            for j in range(n_blocks)
          ]
        )
        for i, n_blocks in enumerate(BLOCKS[depth])
      ]
    )

  def __call__(self, frames: jax.Array) -> jax.Array:
    x = nnx.relu(self.stem_norm(self.stem(frames)))
    for group in self.groups:
      for block in group:
        x = block(x)
    return x
