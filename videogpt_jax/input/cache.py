"""Where findings about data sets are kept for the next run, and locks between processes."""

import contextlib
import hashlib
import logging
import os
import pathlib

_log = logging.getLogger(__name__)


def cache_path(key: str) -> pathlib.Path:
  """Returns the path for `key` below $XDG_CACHE_HOME/videogpt_jax; creates nothing."""
  home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(home, 'videogpt_jax', hashlib.sha256(os.fsencode(key)).hexdigest()[:16])


@contextlib.contextmanager
def exclusive(file: pathlib.Path):
  """Holds a lock file, after waiting for other processes, also on machines that share the disk.

  The system releases the lock when its process ends. Locks nothing on Windows, which has no flock.
  """
  try:
    import fcntl
  except ModuleNotFoundError:
    yield
    return
  file.parent.mkdir(parents=True, exist_ok=True)
  with file.open('w') as stream:
    try:
      fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      _log.info('Waiting for another process, which holds %s', file)
      fcntl.flock(stream, fcntl.LOCK_EX)
    yield
