"""Takes some rows and columns out of decoded frames, before their colours are converted."""

import dataclasses
import re
from typing import Protocol

import av
import numpy as np

Index = np.ndarray | slice

_FEW = 1 / 8  # share of a frame's pixels up to which it is quicker to fetch them one by one


class Selection(Protocol):
  """What to take out of frames of one size and format.

  Attributes:
    rows, columns: where the wanted ones are in the frame that `take` returns.
  """

  rows: Index
  columns: Index

  def take(self, frame: av.VideoFrame) -> av.VideoFrame:
    """Returns a frame that holds them; it is overwritten by the next one."""


@dataclasses.dataclass(frozen=True)
class Whole:
  """The frame as it is."""

  rows: Index
  columns: Index

  def take(self, frame: av.VideoFrame) -> av.VideoFrame:
    return frame


@dataclasses.dataclass(frozen=True)
class Blocks:
  """Whole blocks of pixels that share a colour, which FFmpeg converts without scaling.

  Attributes:
    planes: rows and columns of each plane.
    small: holds them; its width is a multiple of 8, without which FFmpeg leaves out columns.
  """

  rows: Index
  columns: Index
  planes: tuple[tuple[Index, Index], ...]
  small: av.VideoFrame

  @classmethod
  def of(cls, frame: av.VideoFrame, rows: np.ndarray, columns: np.ndarray) -> 'Blocks':
    tall = 2 if '420' in frame.format.name else 1
    down, rows = _blocks(rows, tall)
    across, columns = _blocks(columns, 2)
    luma = (_pixels(down, tall, frame.height), _pixels(across, 2, frame.width))
    small = av.VideoFrame(-(-2 * len(across) // 8) * 8, tall * len(down), frame.format.name)
    planes = tuple(tuple(map(_slice, plane)) for plane in (luma, (down, across), (down, across)))
    return cls(rows, columns, planes, small)

  def take(self, frame: av.VideoFrame) -> av.VideoFrame:
    parts = zip(frame.planes, self.small.planes, self.planes, strict=True)
    for plane, small, (rows, columns) in parts:
      part = pick(values(plane, 'u1'), rows, columns)
      values(small, 'u1')[:, : part.shape[1]] = part
    return self.small


@dataclasses.dataclass(frozen=True)
class Points:
  """Single pixels of planes of 8 to 16 bits; colours are repeated where there are fewer of them.

  Attributes:
    planes: rows and columns of each plane.
    depth: bits of a number.
  """

  rows: Index
  columns: Index
  planes: tuple[tuple[Index, Index], ...]
  depth: int

  @classmethod
  def of(cls, frame: av.VideoFrame, rows: np.ndarray, columns: np.ndarray, depth: int) -> 'Points':
    size = lambda plane: (-(-frame.height // plane.height), -(-frame.width // plane.width))
    planes = ((rows // down, columns // across) for down, across in map(size, frame.planes))
    return cls(slice(None), slice(None), tuple(planes), depth)

  def take(self, frame: av.VideoFrame) -> av.VideoFrame:
    dtype = 'u1' if self.depth == 8 else '<u2'
    parts = [
      pick(values(plane, dtype), *index)
      for plane, index in zip(frame.planes, self.planes, strict=True)
    ]
    if self.depth == 8:
      return av.VideoFrame.from_ndarray(np.stack(parts), format='yuv444p')
    deep = np.stack(parts, -1) << (16 - self.depth)
    return av.VideoFrame.from_ndarray(deep, format='yuv444p16le')


def select(frame: av.VideoFrame, rows: np.ndarray, columns: np.ndarray) -> Selection:
  """Returns what takes rows and columns, int [.], out of frames like this one."""
  match = re.fullmatch(r'yuvj?4(?:20|22|44)p(?:(\d+)le)?', frame.format.name)
  if not match or any(plane.line_size < 0 for plane in frame.planes):
    return Whole(rows, columns)
  if has_blocks(frame):
    return Blocks.of(frame, rows, columns)
  if len(rows) * len(columns) > _FEW * frame.height * frame.width:
    return Whole(rows, columns)
  return Points.of(frame, rows, columns, int(match[1] or 8))


def has_blocks(frame: av.VideoFrame) -> bool:
  """Returns whether FFmpeg converts the frame block by block, without a scaler."""
  return bool(re.fullmatch('yuvj?42[02]p', frame.format.name)) and frame.height % 2 == 0


def values(plane, dtype: str) -> np.ndarray:
  """Returns the numbers in a plane, [h w], without copying them."""
  size = np.dtype(dtype).itemsize
  return np.ndarray((plane.height, plane.width), dtype, plane, strides=(plane.line_size, size))


def pick(array: np.ndarray, rows: Index, columns: Index) -> np.ndarray:
  """Returns rows and columns of an array, [. .]."""
  array = array[rows] if isinstance(rows, slice) else array.take(rows, 0)
  return array[:, columns] if isinstance(columns, slice) else array.take(columns, 1)


def _blocks(pixels, size):
  """Returns the blocks that hold the pixels, and the places of the pixels in them.

  All blocks between the first and the last one where every second one is needed anyway: copying a
  stretch is quicker than picking.
  """
  blocks = np.unique(pixels // size)
  between = np.arange(blocks[0], blocks[-1] + 1)
  if len(between) <= 2 * len(blocks):
    blocks = between
  return blocks, size * np.searchsorted(blocks, pixels // size) + pixels % size


def _pixels(blocks, size, end):
  return np.minimum((blocks[:, None] * size + np.arange(size)).ravel(), end - 1)


def _slice(index):
  """Returns a slice if the index is one without a gap."""
  stretch = slice(int(index[0]), int(index[-1]) + 1)
  return stretch if len(index) == stretch.stop - stretch.start else index
