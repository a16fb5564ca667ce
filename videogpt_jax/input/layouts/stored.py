"""Recordings in arrays: NumPy's files, and HDF5.

Letters of axes: N recordings; T H W frames, height, width; C colour.
"""

import collections
import dataclasses
import functools
import os
import pathlib
import re
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from videogpt_jax import numpy_file
from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing, reframe
from videogpt_jax.input.faults import CONTENT_FAULTS, reason, told
from videogpt_jax.input.images import read_image
from videogpt_jax.input.layouts.sizes import common_size
from videogpt_jax.input.recording import BrokenRecordingError

_CACHED_BYTES = 1 << 30  # of arrays that have to be unpacked as a whole


@dataclasses.dataclass(frozen=True)
class Stored:
  """An array in a file, opened where it is read.

  Attributes:
    path: the file.
    key: of the array in it; '' in an `.npy`.
  """

  path: str
  key: str = ''

  def open(self):
    """Returns what slices like an array.

    Raises:
      BrokenRecordingError: the file is gone or damaged.
    """
    try:
      return _open(self, os.stat(self.path).st_mtime_ns)
    except CONTENT_FAULTS as error:
      raise BrokenRecordingError(f'cannot be read ({reason(error)})') from error


@dataclasses.dataclass(frozen=True)
class ArrayRecording:
  """A recording in an array.

  Attributes:
    name: as in `videogpt_jax.input.recording.Recording`.
    stored: the array.
    axes: its axes, such as 'TNHW'; 'T' for one image file a frame.
    shape: its shape.
    gain: what makes values span [0, 255].
    number: of the recording along N.
    first, count: the frames, where one array holds several recordings after one another.
    image_size: (h, w) of image files; None if it changes.
    remarks: what to know about its pixels, one line each.
  """

  name: str
  stored: Stored
  axes: str
  shape: tuple[int, ...]
  gain: float = 1.0
  number: int = 0
  first: int = 0
  count: int = 0
  times: np.ndarray | None = None
  image_size: tuple[int, int] | None = None
  remarks: tuple[str, ...] = ()

  @property
  def size(self) -> tuple[int, int] | None:
    if 'H' not in self.axes:
      return self.image_size
    return self.shape[self.axes.index('H')], self.shape[self.axes.index('W')]

  def __len__(self) -> int:
    return self.count or self.shape[self.axes.index('T')]

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    array = self.stored.open()
    for i in indices:
      image = self._frame(array, self.first + int(i))
      yield reframe(image, framing) if framing else image

  def _frame(self, array, i):
    place = {'N': self.number, 'T': i}
    try:
      frame = np.asarray(array[tuple(place.get(axis, slice(None)) for axis in self.axes)])
    except CONTENT_FAULTS as error:
      raise BrokenRecordingError(f'frame {i} cannot be read ({reason(error)})') from error
    if self.axes == 'T':
      return read_image(frame.tobytes())
    left = [axis for axis in self.axes if axis in 'HWC']
    frame = frame.transpose([left.index(axis) for axis in 'HWC' if axis in left])
    frame = frame[..., None] if frame.ndim == 2 else frame
    frame = np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame[..., :3]
    if frame.dtype == np.uint8:
      return frame
    if frame.dtype.kind == 'f' and not np.isfinite(frame).all():
      raise BrokenRecordingError(f'frame {i} holds NaN or infinity')
    return np.rint(np.clip(frame.astype(np.float32) * np.float32(self.gain), 0, 255)).astype(
      np.uint8
    )


def recordings(name: str, stored: Stored, axes: str = '') -> list[ArrayRecording]:
  """Returns the recordings in an array.

  Args:
    name: of the recording, or of the file that holds several.
    stored: the array.
    axes: of the array; '' guesses, 'T' has one image file a frame.
  Raises:
    UserError: the axes do not fit the shape, or are needed to know what it means.
    BrokenRecordingError: the array cannot be read, or holds no pixels.
  """
  array = stored.open()
  shape = tuple(array.shape)
  if axes == 'T':
    numbers = {f'frame {i}': i for i in range(shape[0])}
    with told('cannot be read', CONTENT_FAULTS):
      content = lambda key: np.asarray(array[numbers[key]]).tobytes()
      size, remarks = common_size(list(numbers), content)
    return [ArrayRecording(name, stored, axes, shape, image_size=size, remarks=remarks)]
  if len(shape) < 3:
    raise BrokenRecordingError(f'has shape {list(shape)}, no video')
  axes = named_axes(axes, shape, name) if axes else guess_axes(shape, name)
  if not all(shape):
    raise BrokenRecordingError(f'is empty {list(shape)}')
  n = shape[axes.index('N')] if 'N' in axes else 0
  some = {axis: slice(None, None, -(-size // 4)) for axis, size in zip(axes, shape, strict=True)}
  some = array[tuple(some[axis] if axis in 'NT' else slice(None) for axis in axes)]
  made = functools.partial(ArrayRecording, stored=stored, axes=axes, shape=shape, gain=gain(some))
  if not n:
    return [made(name)]
  return [made(f'{name}[{i:0{len(str(n - 1))}}]', number=i) for i in range(n)]


def named_axes(axes: str, shape: Sequence[int], name: str) -> str:
  """Returns the axes in capitals, checked.

  Raises:
    UserError: they are no axes, or not as many as the array has.
  """
  axes = re.sub(r'[\s,\[\]_]', '', axes).upper()
  if sorted(axes) != sorted(set(axes) & set('NTHWC')) or not set('THW') <= set(axes):
    raise UserError(
      f'dataset.axes ({axes}) must have T, H and W once, and N and C where there are such: TNHW, '
      'NTCHW, THWC'
    )
  if len(axes) != len(shape):
    raise UserError(f'{name} has shape {list(shape)}, {len(shape)} axes; dataset.axes is {axes}')
  if 'C' in axes and shape[axes.index('C')] not in (1, 3, 4):
    raise UserError(
      f'{name} has shape {list(shape)}; by dataset.axes ({axes}) it has '
      f'{shape[axes.index("C")]} colours, and 1, 3 or 4 can be read'
    )
  return axes


def guess_axes(shape: Sequence[int], name: str) -> str:
  """Returns the axes of an array by the file's name or by where its colours are.

  A name says them, such as 'clips_t_n_h_w.npy' or 'train_ntchw.npz'; Moving MNIST's published file
  is [T N H W].

  Raises:
    UserError: neither tells.
  """
  file = name.rpartition('/')[2].partition(':')[0].lower()
  if file.startswith('mnist_test_seq') and len(shape) == 4:
    return 'TNHW'
  for word in re.findall(r'(?<![a-z])(?:[nthwc]_?)+(?![a-z])', os.path.splitext(file)[0]):
    axes = word.replace('_', '').upper()
    if len(axes) == len(shape) == len(set(axes)) and set('THW') <= set(axes):
      return axes
  colours = lambda i: shape[i] in (1, 3, 4)
  if len(shape) == 3:
    return 'THW'
  if len(shape) == 4 and colours(-1):
    return 'THWC'
  if len(shape) == 4 and colours(1):
    return 'TCHW'
  if len(shape) == 4 and colours(0):
    return 'CTHW'
  if len(shape) == 5 and colours(-1):
    return 'NTHWC'
  if len(shape) == 5 and colours(2):
    return 'NTCHW'
  if len(shape) == 5 and colours(1):
    return 'NCTHW'
  raise UserError(
    f'{name} has shape {list(shape)}, which may mean several things; say which with dataset.axes, '
    'such as TNHW or NTHW'
  )


def gain(values: np.ndarray) -> float:
  """Returns the factor that brings pixels to [0, 255], by some frames.

  Raises:
    BrokenRecordingError: these are no pixels.
  """
  values = np.asarray(values)
  if values.dtype == np.uint8:
    return 1.0
  if values.dtype == bool:
    return 255.0
  if values.dtype == np.uint16:
    return 255 / 65535 if values.max(initial=0) > 255 else 1.0
  if values.dtype.kind not in 'iuf':
    raise BrokenRecordingError(f'holds {values.dtype}, no pixels')
  low, high = float(values.min(initial=0)), float(values.max(initial=0))
  if low < 0 or high > 255 or not np.isfinite([low, high]).all():
    raise BrokenRecordingError(
      f'holds {values.dtype} from {low:g} to {high:g}; pixels must span 0 to 255, or floats 0 to 1'
    )
  return 255.0 if values.dtype.kind == 'f' and high <= 1 else 1.0


def _open(stored: Stored, changed: int):
  suffix = pathlib.Path(stored.path).suffix.lower()
  if suffix not in ('.npy', '.npz'):
    return _hdf5_array(_hdf5(stored.path, changed), stored.key)
  with _lock:  # NumPy parses headers with `ast`, which threads must not enter together (gh-106905)
    return _mapped(stored.path, changed) if suffix == '.npy' else _unpacked(stored, changed)


@functools.lru_cache(maxsize=64)
def _hdf5(path, changed):
  import h5py

  del changed  # opens a file anew that was written anew
  return h5py.File(path, 'r', rdcc_nbytes=64 << 20)


def _hdf5_array(file, key):
  from videogpt_jax.input.layouts import hdf5_file

  return hdf5_file.array(file, key)


@functools.lru_cache(maxsize=256)
def _mapped(path, changed):
  del changed
  return numpy_file.read_npy(path)


_lock = threading.Lock()
_unpacked_arrays: collections.OrderedDict = collections.OrderedDict()


def _unpacked(stored, changed):
  """Returns an array of an `.npz`, which is unpacked as a whole, and keeps the last ones."""
  kept = _unpacked_arrays
  if (stored, changed) not in kept:
    kept[stored, changed] = numpy_file.read_npz(stored.path, [stored.key])[stored.key]
  kept.move_to_end((stored, changed))
  while len(kept) > 1 and sum(array.nbytes for array in kept.values()) > _CACHED_BYTES:
    kept.popitem(last=False)
  return kept[stored, changed]
