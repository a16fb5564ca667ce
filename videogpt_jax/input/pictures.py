"""Pictures of clips for people: a sheet, and a film with the actions under the frames.

Axes: n clips; T H W frames, height, width; A size of an action.
"""

import itertools
import math

import numpy as np

from videogpt_jax import media
from videogpt_jax.framing import fitted_size
from videogpt_jax.input.config import DatasetConfig

_STRIP = 16  # pixels of an action's bars
_LIT, _DIM, _EDGE = (90, 200, 90), (60, 60, 60), (255, 60, 60)


def with_actions(video: np.ndarray, actions: np.ndarray | None) -> np.ndarray:
  """Draws each frame's action under it: a bar for each number, up if it is positive.

  Args:
    video: uint8 [n T H W 3].
    actions: float32 [n T A], or None, which draws nothing.
  Returns:
    uint8 [n T H' W 3], with bars in proportion to the largest of the same number anywhere.
  """
  if actions is None:
    return video
  n, T, _, W, _ = video.shape
  strip = np.full((n, T, _STRIP, W, 3), _DIM, np.uint8)
  largest = np.abs(actions).max((0, 1))
  heights = actions / np.where(largest, largest, 1)  # [n T A] in [-1, 1]
  middle = _STRIP if (actions >= 0).all() else _STRIP // 2
  edges = np.linspace(0, W, actions.shape[-1] + 1).round().astype(int)
  for a, (left, right) in enumerate(itertools.pairwise(edges)):
    ends = middle - (heights[..., a] * middle).round().astype(int)  # [n T]
    rows = np.arange(_STRIP)
    low, high = np.minimum(ends, middle), np.maximum(ends, middle)
    lit = (rows >= low[..., None]) & (rows < high[..., None])  # [n T rows]
    strip[:, :, :, left : max(left + 1, right - 1)][lit] = _LIT
  return np.concatenate([video, strip], axis=2)


def sheet(video: np.ndarray, n_frames: int) -> np.ndarray:
  """Returns uint8 [H' W' 3]: evenly spaced frames of one clip in each row, of uint8 [n T H W 3]."""
  T = video.shape[1]
  which = np.linspace(0, T - 1, min(T, n_frames)).round().astype(int)
  cells = media.enlarge(video[:, which].reshape(-1, 1, *video.shape[2:]))
  return media.grid(cells, columns=len(which))[0]


def chosen_part(frame: np.ndarray, config: DatasetConfig) -> np.ndarray:
  """Returns a frame as it is stored with a frame about the part that a clip shows of it.

  Args:
    frame: uint8 [h w 3].
    config: of the data set; `fit` other than 'crop' shows all of a frame.
  """
  h, w = frame.shape[:2]
  drawn = frame.copy()
  if config.fit == 'crop':
    fitted = fitted_size(h, w, config.frame_size)
    kept = [
      side * size / new for side, size, new in zip((h, w), config.frame_size, fitted, strict=True)
    ]
    top, left = (round((side - part) / 2) for side, part in zip((h, w), kept, strict=True))
    bottom, right = h - top, w - left
  else:
    top, left, bottom, right = 0, 0, h, w
  thick = max(1, math.ceil(min(h, w) / 64))
  drawn[top:bottom, left : left + thick] = drawn[top:bottom, right - thick : right] = _EDGE
  drawn[top : top + thick, left:right] = drawn[bottom - thick : bottom, left:right] = _EDGE
  return drawn


def beside(frames: list[np.ndarray], width: int) -> np.ndarray:
  """Lays frames of any size, uint8 [h w 3] each, out in one row of a width: uint8 [H' width 3]."""
  share = max(1, width // max(len(frames), 1) - media.GAP)
  cells = []
  for frame in frames:
    height = max(1, round(frame.shape[0] * share / frame.shape[1]))
    rows = (np.arange(height) * frame.shape[0] / height).astype(int)
    columns = (np.arange(share) * frame.shape[1] / share).astype(int)
    cells.append(frame[rows][:, columns])
  row = np.full((max(c.shape[0] for c in cells) + media.GAP, width, 3), 40, np.uint8)
  for i, cell in enumerate(cells):
    row[: cell.shape[0], i * (share + media.GAP) :][:, : cell.shape[1]] = cell
  return row
