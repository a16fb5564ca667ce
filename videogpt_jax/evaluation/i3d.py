"""I3D: Inception-v1 inflated to three dimensions. FVD compares its Kinetics-400 logits.

i3d_weights.py folds batch normalisation into the convolutions, so the network consists of
convolutions, pools and ReLUs only.

Axes: B batch; T H W frames, height, width; C channels; in kernels t h w, I in, O out.
Source: Carreira and Zisserman 2017, figure 3; Unterthiner et al. 2018 (FVD).
"""

from collections.abc import Sequence

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from videogpt_jax.errors import UserError

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
# (window, strides) of the max pools before modules.
_POOL_BEFORE = {
  'Mixed_3b': ((1, 3, 3), (1, 2, 2)),
  'Mixed_4b': ((3, 3, 3), (2, 2, 2)),
  'Mixed_5b': ((2, 2, 2), (2, 2, 2)),
}


class Conv(nnx.Module):
  """A convolution that is padded as in TensorFlow: odd padding goes last."""

  def __init__(
    self, in_channels: int, out_channels: int, width: int, *, stride: int = 1, rngs: nnx.Rngs
  ):
    shape = (width, width, width, in_channels, out_channels)
    self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape))
    self.bias = nnx.Param(jnp.zeros(out_channels))
    self.stride = stride

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel, strides = self.kernel[...], (self.stride,) * 3
    padding = lax.padtype_to_pads(x.shape[1:4], kernel.shape[:3], strides, 'SAME')
    # A frame's whole window in time becomes channels: half the time of three dimensions on CPU.
    x = jnp.pad(x, [(0, 0), padding[0], (0, 0), (0, 0), (0, 0)])
    taps, s = kernel.shape[0], self.stride
    T = (x.shape[1] - taps) // s + 1
    x = jnp.concatenate([x[:, t : t + (T - 1) * s + 1 : s] for t in range(taps)], axis=-1)
    y = lax.conv_general_dilated(
      einops.rearrange(x, 'B T H W I -> (B T) H W I'),
      einops.rearrange(kernel, 't h w I O -> h w (t I) O'),
      (s, s),
      padding[1:],
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      precision=lax.Precision.HIGHEST,  # scores must not depend on the device
    )
    return einops.rearrange(y, '(B T) H W O -> B T H W O', T=T) + self.bias[...]


class Inception(nnx.Module):
  """Four branches over one input, concatenated: [B T H W C] -> [B T H W C']."""

  def __init__(self, in_channels: int, channels: Sequence[int], *, rngs: nnx.Rngs):
    self.b0 = Conv(in_channels, channels[0], 1, rngs=rngs)
    self.b1a = Conv(in_channels, channels[1], 1, rngs=rngs)
    self.b1b = Conv(channels[1], channels[2], 3, rngs=rngs)
    self.b2a = Conv(in_channels, channels[3], 1, rngs=rngs)
    self.b2b = Conv(channels[3], channels[4], 3, rngs=rngs)
    self.b3b = Conv(in_channels, channels[5], 1, rngs=rngs)

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
    rngs: initial weights, which i3d_weights.py replaces.
  """

  def __init__(self, *, rngs: nnx.Rngs):
    self.Conv3d_1a_7x7 = Conv(3, 64, 7, stride=2, rngs=rngs)
    self.Conv3d_2b_1x1 = Conv(64, 64, 1, rngs=rngs)
    self.Conv3d_2c_3x3 = Conv(64, 192, 3, rngs=rngs)
    in_channels = 192
    for name, channels in _MIXED_CHANNELS.items():
      setattr(self, name, Inception(in_channels, channels, rngs=rngs))
      in_channels = channels[0] + channels[2] + channels[4] + channels[5]
    self.logits = Conv(in_channels, N_CLASSES, 1, rngs=rngs)

  def __call__(self, video: jax.Array) -> jax.Array:
    """Classifies clips.

    Args:
      video: float32 [B T 224 224 3] in [-1, 1], at least 9 frames.
    Returns:
      logits: float32 [B 400].
    Raises:
      UserError: there are too few frames, or they have another size.
    """
    if video.shape[1] < MIN_FRAMES or video.shape[2:] != (RESOLUTION, RESOLUTION, 3):
      raise UserError(
        f'I3D takes clips of at least {MIN_FRAMES} frames of {RESOLUTION}x{RESOLUTION}x3, not '
        f'{video.shape[1:]}; use longer clips, and resize them with videogpt_jax.resize'
      )
    _, x = self.features(video)
    for name in _MIXED_CHANNELS:
      if name in _POOL_BEFORE:
        x = _max_pool(x, *_POOL_BEFORE[name])
      x = getattr(self, name)(x)
    x = nnx.avg_pool(x, (2, 7, 7), strides=(1, 1, 1), padding='VALID')
    return jnp.mean(self.logits(x), axis=(1, 2, 3))

  def features(self, video: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns what the first and the last convolution before the Inception modules give.

    Args:
      video: float32 [B T H W 3] in [-1, 1], of any size.
    Returns:
      [B T/2 H/2 W/2 64] and [B T/2 H/4 W/4 192], rounded up.
    """
    first = nnx.relu(self.Conv3d_1a_7x7(video))
    x = _max_pool(first, (1, 3, 3), (1, 2, 2))
    x = nnx.relu(self.Conv3d_2b_1x1(x))
    return first, nnx.relu(self.Conv3d_2c_3x3(x))

  def stem_only(self) -> 'I3D':
    """Returns a copy that has `features` alone, and no weights for anything else."""
    stem = nnx.clone(self)
    for name in (*_MIXED_CHANNELS, 'logits'):
      delattr(stem, name)
    return stem


def _max_pool(x: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
  # Inputs are ReLU outputs, so padding with -inf (here) equals padding with 0 (PyTorch port).
  # One axis after another: the same maximum, in a fifth of the time on CPU.
  for axis in range(3):
    if window[axis] > 1:
      sizes, steps = [1, 1, 1], [1, 1, 1]
      sizes[axis], steps[axis] = window[axis], strides[axis]
      x = nnx.max_pool(x, tuple(sizes), strides=tuple(steps), padding='SAME')
  return x
