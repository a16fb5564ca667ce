"""A lock on a folder, so that no two runs write to it."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator

from etils.epath import Path

from videogpt_jax.errors import UserError

LOCK = '.lock'
"""Name of the file, which states the host and the process that hold the lock."""


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
  """Holds the folder, which is created if necessary, until the block or the process ends.

  A folder in a bucket is not locked. One that cannot be written to is left to the caller.

  Raises:
    UserError: another process holds it; the message names its host and number.
  """
  file = None if '://' in str(folder) else _open(folder)
  if file is None:
    yield
    return
  with file:
    try:
      # A record lock ends with its process, and children do not inherit it.
      fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UserError(
        f'{folder} is in use by {_holder(file.read())}; wait for it, stop it, or choose another '
        '--workdir'
      ) from None
    except OSError:  # this file system has no locks
      yield
      return
    file.truncate(0)
    file.write(json.dumps({'host': socket.gethostname(), 'process': os.getpid()}))
    file.flush()
    try:
      yield
    finally:
      with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, LOCK))


def _open(folder: Path):
  try:
    folder.mkdir(parents=True, exist_ok=True)
    number = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    return os.fdopen(number, 'r+')
  except OSError:
    return None


def _holder(text: str) -> str:
  try:
    found = json.loads(text)
    return f'process {found["process"]} on host {found["host"]}'
  except (ValueError, KeyError, TypeError):  # it has only just begun
    return 'another run'
