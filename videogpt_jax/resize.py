"""Resizes frames: the published code covers the wanted size, then crops the centre.

Bilinear, with pixel centres at half integers and no smoothing before shrinking, which PyTorch calls
`interpolate(mode='bilinear', align_corners=False)`. Recordings resize frame by frame with NumPy
(`framing.reframe`), stored clips with TensorFlow and everything else with JAX; all take their sizes
from `framing.fitted_size`.

Letters: H W wanted height and width; h w a recording's height and width; C colour.
"""

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.framing import Resolution, fitted_size, frame_size


def resize(video: jax.Array, height: int, width: int) -> jax.Array:
  """Resizes [... h w C] to exactly height x width and may change the aspect ratio."""
  shape = (*video.shape[:-3], height, width, video.shape[-1])
  if shape == video.shape:
    return video.astype(jnp.float32)
  return jax.image.resize(
    video.astype(jnp.float32),
    shape,
    'linear',
    antialias=False,
    precision=jax.lax.Precision.HIGHEST,
  )


def interpolate(video: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
  """Interpolates [... h w C] bilinearly at positions of rows [H] and columns [W]: [... H W C]."""

  def weights(positions: np.ndarray, size: int) -> np.ndarray:
    positions = np.clip(positions, 0, size - 1)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(size))).astype(np.float32)

  w = weights(rows, video.shape[-3]), weights(columns, video.shape[-2])
  highest = jax.lax.Precision.HIGHEST
  return jnp.einsum('Hh,...hwC,Ww->...HWC', w[0], video, w[1], precision=highest)


def resize_without_centres(video: jax.Array, height: int, width: int) -> jax.Array:
  """Resizes [... h w C] as TensorFlow 1 does by default: pixel i lies at i, not at i + 1/2.

  Source: tf.compat.v1.image.resize_bilinear(align_corners=False, half_pixel_centers=False).
  """
  at = lambda new, old: np.arange(new) * (old / new)
  return interpolate(video, at(height, video.shape[-3]), at(width, video.shape[-2]))


def resize_and_crop(video: jax.Array, resolution: Resolution) -> jax.Array:
  """Resizes frames to cover the resolution and crops them about the centre.

  Args:
    video: float or uint8 [... h w C].
    resolution: H = W, or (H, W).
  Returns:
    float32 [... H W C], in the input's range.
  """
  H, W = frame_size(resolution)
  height, width = fitted_size(*video.shape[-3:-1], (H, W))
  video = resize(video, height, width)
  top, left = (height - H) // 2, (width - W) // 2
  return video[..., top : top + H, left : left + W, :]
