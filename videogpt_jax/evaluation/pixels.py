"""From the numbers in a file to 8-bit pixels.

Axes: T H W frames, height, width; C colour (1 or 3).
"""

import pathlib

import numpy as np

_TOLERANCE = 1e-3  # how far a float may lie outside its range before it is refused


def read_array(path: pathlib.Path) -> np.ndarray:
  """The array of an `.npy` file (mapped, not loaded), or the only or `video` one of an `.npz`.

  Raises:
    ValueError: another kind of file, or several arrays none of which is called `video`.
  """
  try:
    loaded = np.load(path, mmap_mode='r', allow_pickle=False)
  except (ValueError, OSError, EOFError) as error:
    raise ValueError(f'cannot read {path} as .npy or .npz: {error}') from error
  if isinstance(loaded, np.ndarray):
    return loaded
  with loaded:
    names = loaded.files
    name = names[0] if len(names) == 1 else 'video'
    if name not in names:
      raise ValueError(f"{path} holds {names}; call the array of clips 'video'")
    return loaded[name]


def to_uint8(clip: np.ndarray, float_range: tuple[float, float], name: str) -> np.ndarray:
  """Brings a clip to 8 bits and three colours.

  Args:
    clip: uint8, or float spanning `float_range`; [T H W C] with C 1 or 3.
    float_range: (low, high), which become 0 and 255; what lies between is rounded.
    name: for messages.
  Returns:
    uint8 [T H W 3].
  Raises:
    ValueError: a value is not finite or lies outside the range; the type is neither.
  """
  if np.issubdtype(clip.dtype, np.floating):
    clip = _from_float(clip, float_range, name)
  elif clip.dtype != np.uint8:
    raise ValueError(f'{name} has type {clip.dtype}; it must be uint8 or float')
  return np.ascontiguousarray(np.broadcast_to(clip, (*clip.shape[:-1], 3)))


def _from_float(clip: np.ndarray, float_range: tuple[float, float], name: str) -> np.ndarray:
  finite = np.isfinite(clip)
  if not finite.all():
    frame, row, column, _ = np.argwhere(~finite)[0]
    kind = 'NaN' if np.isnan(clip).any() else 'infinity'
    raise ValueError(
      f'{name} holds {kind} (first in frame {frame}, row {row}, column {column}); '
      'a score of it would mean nothing, so look at what wrote it'
    )
  low, high = float_range
  if clip.min() < low - _TOLERANCE or clip.max() > high + _TOLERANCE:
    raise ValueError(
      f'{name} spans {clip.min():.3g} to {clip.max():.3g}, outside [{low:g}, {high:g}]; '
      'clip it, or say what floats span with --float_range'
    )
  scaled = (np.asarray(clip, np.float32) - low) * (255 / (high - low))
  return np.clip(np.round(scaled), 0, 255).astype(np.uint8)
