"""I3D: Inception-v1 inflated to three dimensions, whose Kinetics-400 logits FVD compares.

Batch normalisation is folded into the convolutions when weights are imported (i3d_weights.py),
so that the network is nothing but convolutions, pools and ReLUs.

Axes: B batch; T H W frames, height, width; C channels.
Source: Carreira and Zisserman 2017, figure 3; Unterthiner et al. 2018 (FVD).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

N_CLASSES = 400  # Kinetics-400
RESOLUTION = 224
MIN_FRAMES = 9  # time is halved three times, and the last pool spans 2 frames

# Output channels of each Inception module's branches: 1x1; 1x1 -> 3x3; 1x1 -> 3x3; pool -> 1x1.
_MIXED_CHANNELS = {
  'Mixed_3b': (64, 96, 128, 16, 32, 32),
  'Mixed_3c': (128, 128, 192, 32, 96, 64),
  'Mixed_4b': (192, 96, 208, 16, 48, 64),
  'Mixed_4c': (160, 112, 224, 24, 64, 64),
  'Mixed_4d': (128, 128, 256, 24, 64, 64),
  'Mixed_4e': (112, 144, 288, 32, 64, 64),
  'Mixed_4f': (256, 160, 320, 32, 128, 128),
  'Mixed_5b': (256, 160, 320, 32, 128, 128),
  'Mixed_5c': (384, 192, 384, 48, 128, 128),
}
# What stands before a module: (window, strides) of a max pool.
_POOL_BEFORE = {
  'Mixed_3b': ((1, 3, 3), (1, 2, 2)),
  'Mixed_4b': ((3, 3, 3), (2, 2, 2)),
  'Mixed_5b': ((2, 2, 2), (2, 2, 2)),
}


class Inception(nnx.Module):
  """Four branches over one input, concatenated: [B T H W C] -> [B T H W C']."""

  def __init__(self, in_channels: int, channels: Sequence[int], *, rngs: nnx.Rngs):
    self.b0 = _conv(in_channels, channels[0], 1, rngs=rngs)
    self.b1a = _conv(in_channels, channels[1], 1, rngs=rngs)
    self.b1b = _conv(channels[1], channels[2], 3, rngs=rngs)
    self.b2a = _conv(in_channels, channels[3], 1, rngs=rngs)
    self.b2b = _conv(channels[3], channels[4], 3, rngs=rngs)
    self.b3b = _conv(in_channels, channels[5], 1, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    branches = (
      nnx.relu(self.b0(x)),
      nnx.relu(self.b1b(nnx.relu(self.b1a(x)))),
      nnx.relu(self.b2b(nnx.relu(self.b2a(x)))),
      nnx.relu(self.b3b(_max_pool(x, (3, 3, 3), (1, 1, 1)))),
    )
    return jnp.concatenate(branches, axis=-1)


class I3D(nnx.Module):
  """The RGB stream, up to its logits averaged over time.

  Args:
    rngs: the start of weights that are then replaced (i3d_weights.py); scores never use them.
  """

  def __init__(self, *, rngs: nnx.Rngs):
    self.Conv3d_1a_7x7 = _conv(3, 64, 7, strides=2, rngs=rngs)
    self.Conv3d_2b_1x1 = _conv(64, 64, 1, rngs=rngs)
    self.Conv3d_2c_3x3 = _conv(64, 192, 3, rngs=rngs)
    in_channels = 192
    for name, channels in _MIXED_CHANNELS.items():
      setattr(self, name, Inception(in_channels, channels, rngs=rngs))
      in_channels = channels[0] + channels[2] + channels[4] + channels[5]
    self.logits = _conv(in_channels, N_CLASSES, 1, rngs=rngs)

  def __call__(self, video: jax.Array) -> jax.Array:
    """Classifies clips.

    Args:
      video: float32 [B T 224 224 3], in the range that the weights were trained on ([-1, 1]);
        at least 9 frames.
    Returns:
      logits: float32 [B 400].
    Raises:
      ValueError: too few frames, or another size.
    """
    if video.shape[1] < MIN_FRAMES or video.shape[2:] != (RESOLUTION, RESOLUTION, 3):
      raise ValueError(
        f'I3D takes clips of at least {MIN_FRAMES} frames of {RESOLUTION}x{RESOLUTION}x3, not '
        f'{video.shape[1:]}; use longer clips, and resize them with evaluation.resize'
      )
    x = nnx.relu(self.Conv3d_1a_7x7(video))
    x = _max_pool(x, (1, 3, 3), (1, 2, 2))
    x = nnx.relu(self.Conv3d_2b_1x1(x))
    x = nnx.relu(self.Conv3d_2c_3x3(x))
    for name in _MIXED_CHANNELS:
      if name in _POOL_BEFORE:
        x = _max_pool(x, *_POOL_BEFORE[name])
      x = getattr(self, name)(x)
    x = nnx.avg_pool(x, (2, 7, 7), strides=(1, 1, 1), padding='VALID')
    return jnp.mean(self.logits(x), axis=(1, 2, 3))


def _conv(
  in_channels: int, out_channels: int, width: int, *, strides: int = 1, rngs: nnx.Rngs
) -> nnx.Conv:
  return nnx.Conv(
    in_channels,
    out_channels,
    (width,) * 3,
    strides=(strides,) * 3,
    padding='SAME',  # TensorFlow's: an odd element of padding goes last
    precision=lax.Precision.HIGHEST,  # scores are compared between kinds of device
    rngs=rngs,
  )


def _max_pool(x: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
  # Every input is a ReLU's output, so padding with -inf (here) or with 0 (PyTorch port) agree.
  return nnx.max_pool(x, window, strides=strides, padding='SAME')
