"""Animated pictures as recordings: WebP, PNG, and TIFF of several pages, which Pillow reads."""

import dataclasses
import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from videogpt_jax.framing import Framing, reframe
from videogpt_jax.input.faults import CONTENT_FAULTS, told
from videogpt_jax.input.images import image_size, shown

SUFFIXES = frozenset(('.webp', '.png', '.tif', '.tiff'))
_USUAL = 100  # milliseconds that browsers show a frame for whose own time is 10 or less


@dataclasses.dataclass(frozen=True)
class Animation:
  """A recording in one animated picture.

  Attributes:
    name, times, size: as in `videogpt_jax.input.recording.Recording`.
    path: the file.
    count: number of its frames.
  """

  name: str
  path: str
  count: int
  times: np.ndarray | None = None
  size: tuple[int, int] | None = None

  def __len__(self) -> int:
    return self.count

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    with told('no readable picture', CONTENT_FAULTS), Image.open(self.path) as image:
      for i in indices:
        image.seek(int(i))
        frame = shown(image, framing.background if framing else 'white')
        yield reframe(frame, framing) if framing else frame


def animation(path: str | os.PathLike, name: str) -> Animation | None:
  """Returns the recording in a picture, or None if it does not move or cannot be read."""
  try:
    with Image.open(path) as image:
      count, kind = getattr(image, 'n_frames', 1), image.format
    if count < 2:
      return None
    times = _times(path) if kind == 'WEBP' else None
    return Animation(name, os.fspath(path), count, times, image_size(path))
  except (*CONTENT_FAULTS, Image.DecompressionBombError):
    return None


def _times(path) -> np.ndarray:
  """Returns the seconds from the first frame of a WebP file to each, from its 'ANMF' chunks."""
  with open(path, 'rb') as file:
    content = file.read()
  lasting, place = [], 12
  while place + 8 <= len(content):
    size = int.from_bytes(content[place + 4 : place + 8], 'little')
    if content[place : place + 4] == b'ANMF':
      own = int.from_bytes(content[place + 20 : place + 23], 'little')
      lasting.append(own if own > 10 else _USUAL)
    place += 8 + size + size % 2
  return np.cumsum([0, *lasting[:-1]]) / 1000
