"""Brings clips to the size that a scoring network takes, as the published scorers do.

Bilinear, pixel centres at half integers, no smoothing before shrinking: what PyTorch calls
`interpolate(mode='bilinear', align_corners=False)`.

Axes: B batch; T H W frames, height, width; C colour.
"""

import math

import jax
import jax.numpy as jnp


def resize(video: jax.Array, height: int, width: int) -> jax.Array:
  """Resizes to exactly height x width, whatever that does to the aspect: [... H W C]."""
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


def resize_and_crop(video: jax.Array, resolution: int) -> jax.Array:
  """Resizes the shorter side to `resolution` and keeps the centre.

  Args:
    video: float or uint8 [... H W C].
    resolution: the side of the square that is kept.
  Returns:
    float32 [... resolution resolution C].
  Source: the published VideoGPT's preprocessing; the longer side is rounded up.
  """
  height, width = video.shape[-3:-1]
  if height < width:
    size = resolution, math.ceil(width * (resolution / height))
  else:
    size = math.ceil(height * (resolution / width)), resolution
  video = resize(video, *size)
  top, left = (size[0] - resolution) // 2, (size[1] - resolution) // 2
  return video[..., top : top + resolution, left : left + resolution, :]
