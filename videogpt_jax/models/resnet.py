"""The 3-D ResNet that encodes conditioning frames for the cross-attention of the prior.

Axis letters: B batch; T H W frames, height, width; t h w grid of the features; C channels.
"""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.models.convolutions import Conv3D, Size3
from videogpt_jax.models.video_norms import ChannelNorm

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Residual blocks in each of the four groups, by depth. Source: He et al. 2015, table 1."""

N_STRIDED = 3
"""Groups that can stride: the last ones."""


def halvings(total: Sequence[int]) -> Iterator[Size3]:
  """Yields the strides of one layer after the other: 2 on each axis until `total` is reached."""
  left = tuple(total)
  while True:
    stride = tuple(2 if n > 1 else 1 for n in left)
    yield stride
    left = tuple(n // s for n, s in zip(left, stride, strict=True))


def check_grid(grid: Sequence[int], frames: Sequence[int]):
  """Refuses a grid of features that the network cannot make of such frames (UserError).

  Args:
    grid: (t, h, w).
    frames: (T, H, W).
  """
  large = has_large_stem(frames)
  most = (2 ** (N_STRIDED + large), *(2 ** (N_STRIDED + 2 * large),) * 2)
  least = (1, 4, 4) if large else (1, 1, 1)
  fits = len(grid) == 3 and all(
    n > 0 and size % n == 0 and (s := size // n) & (s - 1) == 0 and lo <= s <= hi
    for n, size, lo, hi in zip(grid, frames, least, most, strict=True)
  )
  if not fits:
    raise UserError(
      f'prior.resnet_grid {tuple(grid)} must divide the conditioning frames {tuple(frames)} '
      f'(n_cond_frames, height, width) by powers of two, from {least} to {most}'
    )


def has_large_stem(frames: Sequence[int]) -> bool:
  """Whether the stem is larger for frames (T, H, W). Source: VideoGPT-Paper, config_cond.py."""
  return frames[-1] >= 128


class ResNetBlock(nnx.Module):
  """Two 3x3x3 convolutions and a shortcut, which `project` passes through a convolution."""

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
    h = nnx.relu(self.norm2(self.conv2(h)))  # as published, unlike He et al.
    return nnx.relu(h + shortcut)


class ResNet(nnx.Module):
  """[B T H W 3] -> [B t h w C].

  Args:
    depth: 18 or 34.
    n_channels: C, of the last group; the earlier groups have 64, 128 and 256.
    stride: (T, H, W) over (t, h, w); powers of two.
    large_stem: whether the stem is 7x7x7 with stride, then a max pool that halves height and width,
      as in He et al. 2015; else it is 3x3x3.
  """

  def __init__(
    self,
    depth: int,
    n_channels: int,
    stride: Size3 = (1, 4, 4),
    large_stem: bool = False,
    *,
    rngs: nnx.Rngs,
  ):
    widths = (64, 64, 128, 256, n_channels)
    self.large_stem = large_stem
    left = halvings((stride[0], stride[1] // 2, stride[2] // 2) if large_stem else stride)
    size, first = (7, next(left)) if large_stem else (3, (1, 1, 1))
    self.stem = Conv3D(
      3, widths[0], size, stride=first, padding=[(size // 2,) * 2] * 3, use_bias=False, rngs=rngs
    )
    self.stem_norm = ChannelNorm(widths[0])
    strides = (1, 1, 1), *itertools.islice(left, N_STRIDED)
    self.groups = nnx.List(
      [
        nnx.List(
          [
            ResNetBlock(
              widths[i + 1] if j else widths[i],
              widths[i + 1],
              (1, 1, 1) if j else strides[i],
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
    x = _max_pool(x) if self.large_stem else x
    for group in self.groups:
      for block in group:
        x = block(x)
    return x


def _max_pool(x: jax.Array) -> jax.Array:
  """Takes the largest value of 3x3x3 neighbours, at every second position in space."""
  edges = ((0, 0), *((1, 1),) * 3, (0, 0))
  lowest = jnp.array(-jnp.inf, x.dtype)
  return jax.lax.reduce_window(x, lowest, jax.lax.max, (1, 3, 3, 3, 1), (1, 1, 2, 2, 1), edges)
