"""Sets of clips to score, from arrays or folders of any origin, read a few at a time.

Every clip comes out as uint8 [T H W 3], as raw frames are stored: what is scored is what a viewer
would see. Axes: N clips; T H W frames, height, width; C colour (1 or 3).
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from videogpt_jax.evaluation import pixels, resize
from videogpt_jax.input import video_file

_IMAGES = ('.bmp', '.jpeg', '.jpg', '.png')
_ARRAYS = ('.npy', '.npz')
_LOSSY_IMAGES = ('.jpeg', '.jpg')


@dataclasses.dataclass(frozen=True)
class ClipConfig:
  """Which frames of a recording are its clip, and how floats are read.

  Attributes:
    n_frames: T; 0 takes all frames.
    frame_stride: distance of two frames of the clip in the recording.
    choice: where in the recording the clip lies.
    seed: of `choice='random'`.
    float_range: what floats span; uint8 always spans 0 to 255.
    resolution: resizes the shorter side to this and keeps the centre; 0 leaves frames alone.
  """

  n_frames: int = 0
  frame_stride: int = 1
  choice: Literal['first', 'middle', 'random'] = 'first'
  seed: int = 0
  float_range: tuple[float, float] = (0.0, 1.0)
  resolution: int = 0

  def __post_init__(self):
    if self.n_frames < 0 or self.frame_stride < 1:
      raise ValueError(
        f'n_frames ({self.n_frames}) must be 0 or more, frame_stride ({self.frame_stride}) at '
        'least 1'
      )
    if self.resolution < 0:
      raise ValueError(f'resolution ({self.resolution}) must be 0 (as it is) or more')
    if self.choice not in ('first', 'middle', 'random'):
      raise ValueError(f"choice ({self.choice!r}) must be 'first', 'middle' or 'random'")
    if not self.float_range[0] < self.float_range[1]:
      raise ValueError(f'float_range {self.float_range} must be (low, high) with low < high')

  def frames(self, available: int, clip: int, name: str) -> np.ndarray:
    """The frames of clip number `clip` in a recording of `available` frames: int64 [T]."""
    n = self.n_frames or -(-available // self.frame_stride)
    span = (n - 1) * self.frame_stride + 1
    if not 0 < span <= available:
      raise ValueError(
        f'{name} has {available} frames, but a clip of {n} with stride {self.frame_stride} spans '
        f'{span}; leave it out, or lower --n_frames or --frame_stride'
      )
    room = available - span
    if self.choice == 'random':
      start = int(np.random.default_rng((self.seed, clip)).integers(room + 1))
    else:
      start = room // 2 if self.choice == 'middle' else 0
    return start + np.arange(n) * self.frame_stride

  def finish(self, clip: np.ndarray, name: str) -> np.ndarray:
    """What is scored of a clip's frames: numbers [T h w C] -> uint8 [T H W 3]."""
    clip = pixels.to_uint8(clip, self.float_range, name)
    if not self.resolution or clip.shape[1:3] == (self.resolution, self.resolution):
      return clip
    resized = resize.resize_and_crop(clip, self.resolution)
    return np.clip(np.round(resized), 0, 255).astype(np.uint8)


class Clips(Protocol):
  """A set of clips.

  Attributes:
    origin: where they come from, for people.
    lossy: the lossy formats among their files, '' if there are none.
  """

  origin: str
  lossy: str

  def __len__(self) -> int: ...

  def read(self, indices: Sequence[int]) -> np.ndarray:
    """Returns the clips of these numbers, uint8 [n T H W 3]."""


class ArrayClips:
  """Clips in one array, in memory or mapped from a file.

  Args:
    array: uint8 or float [N T H W C].
    config: which frames, and what floats span.
    origin: for messages.
  Raises:
    ValueError: another number of axes, another type, or no clips.
  """

  lossy = ''

  def __init__(self, array: np.ndarray, config: ClipConfig | None = None, origin: str = 'array'):
    if array.ndim != 5 or array.shape[-1] not in (1, 3):
      raise ValueError(f'{origin} {array.shape} must be [N T H W C] with C 1 or 3')
    if not len(array):
      raise ValueError(f'{origin} holds no clips; give at least 2')
    self.origin = origin
    self._array = array
    self._config = config or ClipConfig()

  def __len__(self) -> int:
    return len(self._array)

  def read(self, indices: Sequence[int]) -> np.ndarray:
    clips = []
    for i in indices:
      name = f'clip {i} of {self.origin}'
      frames = self._config.frames(self._array.shape[1], int(i), name)
      clips.append(self._config.finish(self._array[i][frames], name))
    return np.stack(clips)


class FolderClips:
  """Clips in a folder, one each: video files, `.npy`/`.npz` [T H W C], or folders of images.

  Args:
    folder: searched to any depth; hidden files are left out. Clips, and the images of one, come in
      the order of their names, numbers in them counting as numbers (2 before 10).
    config: which frames, and what floats span.
  Raises:
    ValueError: nothing in it is a clip.
  """

  def __init__(self, folder: str | os.PathLike, config: ClipConfig | None = None):
    folder = pathlib.Path(folder)
    paths = [p for p in sorted(folder.rglob('*')) if not p.name.startswith('.') and p.is_file()]
    suffixes = {path.suffix.lower() for path in paths}
    stills = {path.parent for path in paths if path.suffix.lower() in _IMAGES}
    single = (*video_file.SUFFIXES, *_ARRAYS)
    clips = stills | {path for path in paths if path.suffix.lower() in single}
    self._paths = sorted(clips, key=_numbered)
    if not self._paths:
      raise ValueError(
        f'folder {folder} holds no clips; put videos ({", ".join(video_file.SUFFIXES)}), arrays '
        f'({", ".join(_ARRAYS)}) or folders of images ({", ".join(_IMAGES)}) into it'
      )
    self.origin = str(folder)
    self.lossy = ', '.join(sorted(suffixes & {*video_file.SUFFIXES, *_LOSSY_IMAGES}))
    self._config = config or ClipConfig()
    self._first: tuple[pathlib.Path, tuple[int, ...]] | None = None

  def __len__(self) -> int:
    return len(self._paths)

  def read(self, indices: Sequence[int]) -> np.ndarray:
    clips = [self._config.finish(self._read(int(i)), str(self._paths[i])) for i in indices]
    for i, clip in zip(indices, clips, strict=True):
      self._first = self._first or (self._paths[i], clip.shape)
      if clip.shape != self._first[1]:
        raise ValueError(
          f'{self._paths[i]} {clip.shape} and {self._first[0]} {self._first[1]} must have the same '
          'size [T H W C]; set --n_frames and --resolution'
        )
    return np.stack(clips)

  def _read(self, i: int) -> np.ndarray:
    path = self._paths[i]
    if path.is_dir():
      images = [p for p in path.iterdir() if p.suffix.lower() in _IMAGES]
      images.sort(key=_numbered)
      frames = self._config.frames(len(images), i, str(path))
      return np.stack([np.asarray(Image.open(images[j]).convert('RGB')) for j in frames])
    if path.suffix.lower() in _ARRAYS:
      array = pixels.read_array(path)
      if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise ValueError(f'{path} {array.shape} must be one clip [T H W C] with C 1 or 3')
      frames = self._config.frames(len(array), i, str(path))
      return array[frames]
    try:
      recording = video_file.scan(path)
      frames = self._config.frames(len(recording.stamps), i, str(path))
      return video_file.read_frames(path, recording, frames)
    except video_file.BrokenVideoError as error:
      raise ValueError(f'{path}: {error}; leave it out') from error


def _numbered(path: pathlib.Path) -> list[str | int]:
  """What paths are sorted by: text and, between it, numbers."""
  parts = re.split('([0-9]+)', str(path))
  return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def open_clips(path: str | os.PathLike, config: ClipConfig | None = None) -> Clips:
  """Opens a folder of clips, or an `.npy`/`.npz` file that holds all of them.

  Raises:
    FileNotFoundError: there is nothing of that name.
    ValueError: it holds no clips.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f'there is no file or folder {path}')
  if path.is_dir():
    return FolderClips(path, config)
  return ArrayClips(pixels.read_array(path), config, str(path))
