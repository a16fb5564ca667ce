"""NumPy's files, `.npy` and `.npz`, of strangers: sizes first, faults in one line, no pickles."""

import contextlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from videogpt_jax import files
from videogpt_jax.errors import UserError

Source = str | os.PathLike | BinaryIO


class BrokenFileError(UserError):
  """The file is damaged, holds Python objects, or claims or unpacks to more than it has."""


def read_npy(path: Source, name: str = '') -> np.ndarray:
  """Returns the array of an `.npy`: mapped into memory if it is a file.

  Args:
    path: a file, or its opened content.
    name: of the content, for messages.
  Raises:
    FileNotFoundError: there is no such file.
    BrokenFileError: it is.
  """
  with _told(name or path):
    mapped = None if hasattr(path, 'read') else 'r'
    found = np.load(path, mmap_mode=mapped, allow_pickle=False)
    if not isinstance(found, np.ndarray):
      raise ValueError('it is an archive of several arrays')
    return found


@contextlib.contextmanager
def open_npz(path: Source, name: str = '') -> Iterator[np.lib.npyio.NpzFile]:
  """Opens an `.npz`; the block that reads from it raises BrokenFileError too.

  Raises:
    FileNotFoundError: there is no such file.
    BrokenFileError: it is.
  """
  with _told(name or path):
    _check_unpacked(path)
    with np.load(path, allow_pickle=False) as file:
      if isinstance(file, np.ndarray):
        raise ValueError('it holds a single array, and no archive of them')
      yield file


def read_npz(path: Source, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
  """Returns arrays of an `.npz` by name, all or these; errors are those of `open_npz`."""
  with open_npz(path) as file:
    return {key: file[key] for key in keys or file.files}


def _check_unpacked(path: Source):
  with zipfile.ZipFile(path) as archive:
    unpacked = sum(info.file_size for info in archive.infolist())
    packed = archive.fp.seek(0, os.SEEK_END)
  files.check_unpacked(unpacked, packed)
  if hasattr(path, 'seek'):
    path.seek(0)


@contextlib.contextmanager
def _told(name: Source):
  try:
    yield
  except (FileNotFoundError, UserError):
    raise
  except Exception as error:  # NumPy's headers and zips may fail in many ways
    reason = ' '.join(str(error).split())[:200] or type(error).__name__
    raise BrokenFileError(
      f'cannot read {name} as a NumPy file: {reason}; give an intact one'
    ) from error
