"""Faults of files in words: every one becomes one line, whatever library found it."""

import contextlib
import csv
import errno
import tokenize
import unicodedata
import zipfile
import zlib

import av

from videogpt_jax.errors import UserError
from videogpt_jax.input.recording import BrokenRecordingError
from videogpt_jax.numpy_file import BrokenFileError

FAULTS = (
  av.FFmpegError,
  OSError,
  EOFError,
  ValueError,
  OverflowError,
  MemoryError,
  zipfile.BadZipFile,
  zlib.error,
)
"""What decoders, names, permissions and disks raise; anything else is a fault of ours."""

CONTENT_FAULTS = (
  *FAULTS,
  LookupError,
  AttributeError,
  TypeError,
  RuntimeError,
  SyntaxError,
  tokenize.TokenError,
  csv.Error,
)
"""What readers of arrays, tables and JSON raise where a file is damaged or of another form than it
says: each bit is taken at its word. For what such files hold alone."""

_REMEDIES = {
  errno.EACCES: 'permission denied; make it readable',
  errno.EIO: 'the disk or the network cannot read it',
  errno.ESTALE: 'the network disk has lost it',
  errno.ENOENT: 'it is gone',
}


def reason(error: BaseException) -> str:
  """Returns what went wrong, in one line."""
  if isinstance(error, MemoryError):
    return 'too large for the memory'
  if isinstance(error, KeyError):
    return printable(f'{error} is missing')
  number = getattr(error, 'errno', None)
  said = _REMEDIES.get(number) or getattr(error, 'strerror', None) or error or type(error).__name__
  return printable(said)


def printable(text: object) -> str:
  """Returns a text in one line that any terminal can print; names of files may be any bytes."""
  return ''.join(map(_printable, str(text)))


def _printable(c: str) -> str:
  if c.isprintable() or unicodedata.category(c) == 'Zs':  # any kind of space
    return c
  if '\udc80' <= c <= '\udcff':  # a byte that is no UTF-8
    return f'\\x{ord(c) - 0xDC00:02x}'
  return c.encode('unicode_escape').decode()


@contextlib.contextmanager
def told(doing: str, faults: tuple[type[Exception], ...] = FAULTS):
  """Turns the faults of a block into a BrokenRecordingError: 'doing (reason)'."""
  try:
    yield
  except BrokenFileError as error:
    raise BrokenRecordingError(f'{doing} ({error})') from error
  except UserError:
    raise
  except faults as error:
    raise BrokenRecordingError(f'{doing} ({reason(error)})') from error
