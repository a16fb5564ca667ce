"""Tables in parquet files, read with pyarrow: needs the extra "data"."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence

import numpy as np

from videogpt_jax.framing import Framing
from videogpt_jax.input.faults import CONTENT_FAULTS, told
from videogpt_jax.input.images import frame_of
from videogpt_jax.input.recording import BrokenRecordingError


def columns(path: str) -> list[str]:
  """Returns the names of a table's columns."""
  return _open(path).schema_arrow.names


@functools.lru_cache(maxsize=4)
def table(path: str, wanted: Sequence[str] | None = None):
  """Returns a file's columns, all or those that are wanted, as a pyarrow.Table.

  Raises:
    BrokenRecordingError: the file is missing, damaged, or lacks a column.
  """
  with told(f'{os.path.basename(path)} cannot be read', CONTENT_FAULTS):
    return _open(path).read(wanted and list(wanted))


@dataclasses.dataclass(frozen=True)
class ParquetImages:
  """A recording of image files in consecutive rows of a table.

  Attributes:
    name: as in `videogpt_jax.input.recording.Recording`.
    path: the parquet file.
    column: of the images: their content, or a struct with it as `bytes`.
    first, count: its rows.
    fps: frames per second.
    remarks: what to know about its pixels, one line each.
  """

  name: str
  path: str
  column: str
  first: int
  count: int
  fps: float
  size: tuple[int, int] | None = None
  remarks: tuple[str, ...] = ()

  @property
  def times(self) -> np.ndarray:
    return np.arange(self.count) / self.fps

  def __len__(self) -> int:
    return self.count

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    for i in indices:
      yield frame_of(self.content(int(i)), framing)

  def content(self, number: int) -> bytes:
    """Returns the image file of a frame; raises BrokenRecordingError."""
    row = self.first + number
    with told(f'row {row} cannot be read', CONTENT_FAULTS):
      changed = os.stat(self.path).st_mtime_ns
      starts = _group_starts(self.path, changed)
      group = int(np.searchsorted(starts, row, side='right')) - 1
      images = _group(self.path, self.column, group, changed)
      value = images[row - int(starts[group])].as_py()
    content = value['bytes'] if isinstance(value, dict) else value
    if not content:
      raise BrokenRecordingError(f'row {row} has no image')
    return content


@functools.lru_cache(maxsize=64)
def _group_starts(path, changed) -> np.ndarray:
  """Returns the row at which each row group of a file starts."""
  del changed  # a file that was written anew is read anew
  metadata = _open(path).metadata
  rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
  return np.cumsum([0, *rows])[:-1]


@functools.lru_cache(maxsize=16)
def _group(path, column, group, changed):
  del changed
  return _open(path).read_row_group(group, columns=[column]).column(0)


def _open(path):
  """Opens a file for one reader: a ParquetFile must not be shared among threads."""
  import pyarrow.parquet

  return pyarrow.parquet.ParquetFile(path)
