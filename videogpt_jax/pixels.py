"""Pixel conversions: 8-bit colours of files and screens, and the floats that models take.

Axes: T H W frames, height, width; C colour.
"""

import numpy as np

from videogpt_jax.errors import UserError

_TOLERANCE = 1e-3  # how far outside its range a float may lie


def to_model_range(video):
  """Converts uint8 video to float32 in [-0.5, 0.5]; floats are returned unchanged.

  Args:
    video: NumPy or JAX array, or a tracer, of any shape.
  """
  if video.dtype != np.uint8:
    return video
  return video.astype(np.float32) / 255 - np.float32(0.5)


def to_uint8(
  video, span: tuple[float, float] = (-0.5, 0.5), name: str = 'video', *, clip: bool = False
) -> np.ndarray:
  """Converts video to 8 bits, by rounding; uint8 is returned unchanged.

  Args:
    video: uint8, or float in `span`, [... T H W C].
    span: (low, high), which become 0 and 255.
    name: for messages.
    clip: clips values outside `span`, which a decoder produces, instead of refusing them.
  Raises:
    UserError: the dtype is neither, or a value is not finite or lies outside `span`.
  """
  video = np.asarray(video)
  if video.dtype == np.uint8:
    return video
  if not np.issubdtype(video.dtype, np.floating):
    raise UserError(f'{name} has dtype {video.dtype}; it must be uint8 or float')
  _check_finite(video, name)
  low, high = span
  if not clip and (video.min() < low - _TOLERANCE or video.max() > high + _TOLERANCE):
    raise UserError(
      f'{name} spans {video.min():.3g} to {video.max():.3g}, outside [{low:g}, {high:g}]; '
      'clip it, or give the range of floats with --float_range'
    )
  scaled = (np.asarray(video, np.float32) - low) * (255 / (high - low))
  return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def _check_finite(video: np.ndarray, name: str):
  finite = np.isfinite(video)
  if finite.all():
    return
  *_, frame, row, column, _ = np.argwhere(~finite)[0]
  kind = 'NaN' if np.isnan(video).any() else 'infinity'
  raise UserError(
    f'{name} holds {kind} (first in frame {frame}, row {row}, column {column}); '
    'check the program that wrote it'
  )
