"""Videos in a notebook."""

import base64
import dataclasses
import html
from collections.abc import Sequence

import jax
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.pixels import to_uint8


@dataclasses.dataclass(frozen=True)
class Shown:
  """A grid of videos, which a notebook plays where a cell ends with it.

  Attributes:
    sheet: uint8 [T H W 3], the grid.
    fps: frames a second.
    description: for those who do not see it.
  """

  sheet: np.ndarray = dataclasses.field(repr=False)
  fps: float
  description: str

  def _repr_html_(self) -> str:
    from videogpt_jax import media  # PyAV, which only those who watch need

    data = base64.b64encode(media.mp4(self.sheet, self.fps)).decode()
    return (
      f'<video autoplay loop muted playsinline controls width="{self.sheet.shape[2]}" '
      f'aria-label="{html.escape(self.description)}" src="data:video/mp4;base64,{data}"></video>'
    )


def show(
  video: np.ndarray | jax.Array, fps: float = 8.0, labels: Sequence[str] | None = None
) -> Shown:
  """Lays videos out in a grid that a notebook plays.

  Args:
    video: float [T H W 3] or [n T H W 3] in [0, 1], as `VideoGPT.sample` returns, or uint8.
    fps: frames a second.
    labels: a text above each video, or None.
  Raises:
    UserError: it is no video, its floats are not in [0, 1], or there are not n labels.
  """
  from videogpt_jax import media  # likewise

  video = np.asarray(video)
  if video.ndim == 4:
    video = video[None]
  if video.ndim != 5 or video.shape[-1] != 3 or not video.size:
    raise UserError(f'show takes videos [n T H W 3], and this is {list(video.shape)}')
  if video.dtype != np.uint8:
    low, high = video.min(), video.max()
    if not (low >= 0 and high <= 1):
      raise UserError(
        f'show takes floats in [0, 1], and these are in [{low:.3g}, {high:.3g}]; add 0.5 to what '
        'encode takes and decode returns'
      )
    video = to_uint8(video, span=(0, 1))
  if labels is not None and len(labels) != len(video):
    raise UserError(f'show has {len(video)} videos and {len(labels)} labels')
  n, T, H, W, _ = video.shape
  named = f': {", ".join(labels)}' if labels else ''
  description = f'{n} video{"s" * (n > 1)} of {T} frames of {H}x{W}{named}'
  return Shown(media.grid(media.enlarge(video), labels), fps, description)
