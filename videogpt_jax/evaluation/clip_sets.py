"""Sets of clips to score, from arrays or folders of any origin, read a few at a time.

Every clip is returned as uint8 [T H W 3]: scores are of what a viewer sees. Axes: N clips; T H W
frames, height, width; C colour (1 or 3).
"""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from videogpt_jax import numpy_file
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.input.decoders import read, scan
from videogpt_jax.input.recording import BrokenRecordingError
from videogpt_jax.input.video_file import SUFFIXES
from videogpt_jax.pixels import to_uint8
from videogpt_jax.resize import Resolution, frame_size, resize_and_crop

_IMAGES = ('.bmp', '.jpeg', '.jpg', '.png')
_ARRAYS = ('.npy', '.npz')
_LOSSY_IMAGES = ('.jpeg', '.jpg')


@dataclasses.dataclass(frozen=True)
class ClipConfig:
  """Which frames of a recording make its clip, and the range of floats.

  Attributes:
    n_frames: T; 0 takes all frames.
    frame_stride: takes every frame_stride-th frame of the recording.
    choice: position of the clip in the recording.
    seed: of `choice='random'`.
    float_range: (low, high) of float pixels; uint8 always spans 0 to 255.
    resolution: frames are resized to cover a square of this side, or (height, width), and cropped
      to its centre; 0 leaves their size unchanged.
  """

  n_frames: int = 0
  frame_stride: int = 1
  choice: Literal['first', 'middle', 'random'] = 'first'
  seed: int = 0
  float_range: tuple[float, float] = (0.0, 1.0)
  resolution: Resolution = 0

  def __post_init__(self):
    if self.n_frames < 0 or self.frame_stride < 1:
      raise UserError(
        f'n_frames ({self.n_frames}) must be 0 or more, frame_stride ({self.frame_stride}) at '
        'least 1'
      )
    if min(frame_size(self.resolution)) < (1 if self.resolution else 0):
      raise UserError(f'resolution ({self.resolution}) must be positive, or 0 for no resizing')
    if self.choice not in ('first', 'middle', 'random'):
      raise UserError(f"choice ({self.choice!r}) must be 'first', 'middle' or 'random'")
    if not self.float_range[0] < self.float_range[1]:
      raise UserError(f'float_range {self.float_range} must be (low, high) with low < high')

  def frames(self, available: int, clip: int, name: str) -> np.ndarray:
    """Returns the frames of clip number `clip` in a recording of `available` frames: int64 [T]."""
    n = self.n_frames or -(-available // self.frame_stride)
    span = (n - 1) * self.frame_stride + 1
    if not 0 < span <= available:
      raise UserError(
        f'{name} has {available} frames, but a clip of {n} with stride {self.frame_stride} spans '
        f'{span}; remove it, or lower --n_frames or --frame_stride'
      )
    room = available - span
    if self.choice == 'random':
      start = int(np.random.default_rng((self.seed, clip)).integers(room + 1))
    else:
      start = room // 2 if self.choice == 'middle' else 0
    return start + np.arange(n) * self.frame_stride

  def finish(self, clip: np.ndarray, name: str) -> np.ndarray:
    """Converts a clip's frames, uint8 or float [T h w C], to uint8 [T H W 3]."""
    clip = to_uint8(clip, self.float_range, name)
    clip = np.ascontiguousarray(np.broadcast_to(clip, (*clip.shape[:-1], 3)))
    if not self.resolution or clip.shape[1:3] == frame_size(self.resolution):
      return clip
    return to_uint8(resize_and_crop(clip, self.resolution), (0, 255), name, clip=True)


class Clips(Protocol):
  """A set of clips.

  Attributes:
    origin: where the clips come from, for messages and records.
    lossy: the lossy formats among the files, '' if there are none.
  """

  origin: str
  lossy: str

  def __len__(self) -> int: ...

  def read(self, indices: Sequence[int]) -> np.ndarray:
    """Returns the clips with these indices, uint8 [n T H W 3]."""

  def digest(self) -> str:
    """Returns a SHA-256 of all that `read` depends on."""


class ArrayClips:
  """Clips in one array, in memory or mapped from a file.

  Args:
    array: uint8 or float [N T H W C].
    config: which frames, and the range of floats.
    origin: for messages.
  Raises:
    UserError: the array has another shape, or holds no clips.
  """

  lossy = ''

  def __init__(self, array: np.ndarray, config: ClipConfig | None = None, origin: str = 'array'):
    if array.ndim != 5 or array.shape[-1] not in (1, 3):
      raise UserError(f'{origin} {array.shape} must be [N T H W C] with C 1 or 3')
    if not len(array):
      raise UserError(f'{origin} holds no clips; give at least 2')
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

  def digest(self) -> str:
    digest = hashlib.sha256(f'{self._config} {self._array.shape} {self._array.dtype}'.encode())
    for clip in self._array:
      digest.update(np.ascontiguousarray(clip).tobytes())
    return digest.hexdigest()


class FolderClips:
  """Clips in a folder, each a video file, an `.npy`/`.npz` [T H W C] or a folder of images.

  Args:
    folder: searched recursively; hidden files are skipped. Clips, and the images of a clip, are
      sorted by name, with numbers in numerical order (2 before 10).
    config: which frames, and the range of floats.
  Raises:
    UserError: the folder holds no clip.
  """

  def __init__(self, folder: str | os.PathLike, config: ClipConfig | None = None):
    folder = pathlib.Path(folder)
    paths = [p for p in sorted(folder.rglob('*')) if not p.name.startswith('.') and p.is_file()]
    suffixes = {path.suffix.lower() for path in paths}
    stills = {path.parent for path in paths if path.suffix.lower() in _IMAGES}
    single = (*SUFFIXES, *_ARRAYS)
    clips = stills | {path for path in paths if path.suffix.lower() in single}
    self._paths = sorted(clips, key=_numbered)
    if not self._paths:
      raise UserError(
        f'folder {folder} holds no clips; put videos ({", ".join(SUFFIXES)}), arrays '
        f'({", ".join(_ARRAYS)}) or folders of images ({", ".join(_IMAGES)}) into it'
      )
    self.origin = str(folder)
    self.lossy = ', '.join(sorted(suffixes & {*SUFFIXES, *_LOSSY_IMAGES}))
    self._config = config or ClipConfig()
    self._first: tuple[pathlib.Path, tuple[int, ...]] | None = None

  def __len__(self) -> int:
    return len(self._paths)

  def read(self, indices: Sequence[int]) -> np.ndarray:
    clips = [self._config.finish(self._read(int(i)), str(self._paths[i])) for i in indices]
    for i, clip in zip(indices, clips, strict=True):
      self._first = self._first or (self._paths[i], clip.shape)
      if clip.shape != self._first[1]:
        raise UserError(
          f'{self._paths[i]} {clip.shape} and {self._first[0]} {self._first[1]} must have the same '
          'size [T H W C]; set --n_frames and --resolution'
        )
    return np.stack(clips)

  def digest(self) -> str:
    digest = hashlib.sha256(f'{self._config} {[path.name for path in self._paths]}'.encode())
    for path in self._paths:
      for file in self._images(path) if path.is_dir() else [path]:
        with open(file, 'rb') as opened:
          digest.update(hashlib.file_digest(opened, 'sha256').digest())
    return digest.hexdigest()

  def _images(self, folder: pathlib.Path) -> list[pathlib.Path]:
    images = (p for p in folder.iterdir() if p.suffix.lower() in _IMAGES)
    return sorted(images, key=_numbered)

  def _read(self, i: int) -> np.ndarray:
    path = self._paths[i]
    if path.is_dir():
      images = self._images(path)
      frames = self._config.frames(len(images), i, str(path))
      return np.stack([_read_image(images[j]) for j in frames])
    if path.suffix.lower() in _ARRAYS:
      array = read_array(path)
      if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise UserError(f'{path} {array.shape} must be one clip [T H W C] with C 1 or 3')
      frames = self._config.frames(len(array), i, str(path))
      return array[frames]
    try:
      recording = scan(path)
      frames = self._config.frames(len(recording), i, str(path))
      return read(recording, frames, None)
    except BrokenRecordingError as error:
      raise UserError(f'{path}: {error}; remove it') from error


def _read_image(path: pathlib.Path) -> np.ndarray:
  try:
    with Image.open(path) as image:
      return np.asarray(image.convert('RGB'))
  except OSError as error:
    raise UserError(f'cannot read image {path}: {error}; remove it') from error


def _numbered(path: pathlib.Path) -> list[str | int]:
  """Returns a sort key that puts numbers in names into numerical order."""
  parts = re.split('([0-9]+)', str(path))
  return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def open_clips(path: str | os.PathLike, config: ClipConfig | None = None) -> Clips:
  """Opens a folder of clips, or an `.npy`/`.npz` file that holds all of them.

  Raises:
    UserFileError: it does not exist.
    UserError: it holds no clips.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise UserFileError(f'there is no file or folder {path}')
  if path.is_dir():
    return FolderClips(path, config)
  return ArrayClips(read_array(path), config, str(path))


def read_array(path: pathlib.Path) -> np.ndarray:
  """Reads the array of an `.npy` file (mapped), or the only one, or `video`, of an `.npz`.

  Raises:
    UserError: the file is of another kind, or holds several arrays and none called `video`.
  """
  if path.suffix.lower() != '.npz':
    return numpy_file.read_npy(path)
  with numpy_file.open_npz(path) as file:
    names = file.files
    name = names[0] if len(names) == 1 else 'video'
    if name not in names:
      raise UserError(f"{path} holds {names}; call the array of clips 'video'")
    return file[name]
