"""A discriminator of videos, which tells real clips from reconstructions patch by patch.

Axis letters: B batch; T H W frames, height, width; t h w patches.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.models.convolutions import Conv3D, Size3
from videogpt_jax.models.video_norms import GroupNorm

SLOPE = 0.2
"""The slope of leaky ReLUs below zero."""

WIDEST = 8
"""Channels double from layer to layer, up to so many times those of the first one."""


class Running(nnx.Variable):
  """An array that the discriminator keeps from step to step."""


class Discriminator(nnx.Module):
  """Strided 4x4x4 convolutions, then a 3x3x3 one to a logit per patch.

  Attributes:
    begun: boolean scalar, whether it has been trained at all.
    real, fake: float32 scalars, running means of its logits for real clips and reconstructions.

  Source: Isola et al. 2017 (arXiv 1611.07004), PatchGAN, in three dimensions; group norm per frame
  in place of batch norm.
  """

  def __init__(self, n_hiddens: int, n_layers: int, clip: Size3, *, rngs: nnx.Rngs):
    """Args:
    n_hiddens: channels of the first layer.
    n_layers: strided convolutions.
    clip: (T, H, W); an axis is halved as long as it has 4 entries.
    """
    widths = [3, *(n_hiddens * min(2**i, WIDEST) for i in range(n_layers))]
    self.convs, self.norms = nnx.List([]), nnx.List([])
    for i in range(n_layers):
      stride = tuple(2 if size >= 4 else 1 for size in clip)
      clip = tuple(size // step for size, step in zip(clip, stride, strict=True))
      self.convs.append(Conv3D(widths[i], widths[i + 1], 4, stride=stride, rngs=rngs))
      if i:  # not on pixels' first features, as in the source
        self.norms.append(GroupNorm(widths[i + 1]))
    self.conv_last = Conv3D(widths[-1], 1, 3, rngs=rngs)
    self.begun = Running(jnp.zeros((), bool))
    self.real, self.fake = Running(jnp.zeros(())), Running(jnp.zeros(()))

  def __call__(self, video: jax.Array) -> jax.Array:
    """Returns logits float32 [B t h w], high for real, of video float32 [B T H W 3]."""
    x = video
    for i, conv in enumerate(self.convs):
      x = conv(x)
      x = nnx.leaky_relu(self.norms[i - 1](x) if i else x, SLOPE)
    return self.conv_last(x)[..., 0]
