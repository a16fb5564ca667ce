"""Processes that decode video files, so that no file can take this one with it.

A decoder may crash, hang or wait for a disk that does not answer. A process that gives no sign of
life for `PATIENCE` seconds is ended, and the file is broken. Processes also decode in parallel what
threads, which share one interpreter, do not.
"""

import functools
import logging
import math
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from videogpt_jax.framing import Framing
from videogpt_jax.input import recording, video_scan
from videogpt_jax.input.faults import printable
from videogpt_jax.input.helper_process import HelperProcess
from videogpt_jax.input.recording import BrokenRecordingError, Part, Recording
from videogpt_jax.input.video_file import VideoFile

_log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds without a sign of life after which a decoder is ended."""

BYTES = 1 << 27
"""About how much a process decodes at once where frames are taken one by one. Each time begins at a
key frame, so that small pieces would be dear."""


def scan(address: str | os.PathLike, name: str = '', *, partly: bool = False) -> VideoFile:
  """Like `video_scan.scan`, in another process."""
  return _call(functools.partial(video_scan.scan, os.fspath(address), name, partly=partly))


def read(source: Recording, indices: np.ndarray, framing: Framing | None) -> np.ndarray:
  """Like `recording.read`; video files are read in another process."""
  task = functools.partial(recording.read, source, indices, framing)
  return _call(task) if _is_video_file(source) else task()


def frames(source: Recording, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
  """Like `source.frames`; video files are read in another process, a few frames at a time."""
  if not _is_video_file(source):
    yield from source.frames(indices, framing)
    return
  size = framing.size if framing else source.size or (2160, 3840)
  n = max(BYTES // (math.prod(size) * (12 if framing else 3)), 1)  # float32 or uint8
  for first in range(0, len(indices), n):
    yield from read(source, indices[first : first + n], framing)


def _is_video_file(source: Recording) -> bool:
  return isinstance(source.whole if isinstance(source, Part) else source, VideoFile)


class _Pool:
  """As many processes as cores, started when they are needed."""

  def __init__(self):
    self._free = threading.Semaphore(os.cpu_count() or 1)
    self.idle: list[HelperProcess] = []
    self.running: list[HelperProcess] = []

  def call(self, task: Callable[[], Any]) -> Any:
    """Returns the result of a task that pickles, from another process.

    Raises:
      BrokenRecordingError: raised by the task, or it crashed its process or gave no sign of life.
    """
    with self._free:
      process = self.idle.pop() if self.idle else self._start()
      try:
        kind, content = process.do(pickle.dumps(task), PATIENCE)
      except TimeoutError:
        self._end(process)
        raise BrokenRecordingError(
          f'its decoder gives no sign of life for {PATIENCE:g} s'
        ) from None
      except (EOFError, OSError):
        ending = _ending(self._end(process))
        raise BrokenRecordingError(f'its decoder crashes ({ending})') from None
      except BaseException:
        self._end(process)
        raise
      self.idle.append(process)
    if kind == 'broken':
      raise BrokenRecordingError(content)
    if kind == 'failed':  # a fault of ours, or of PyAV's: it must not end a run
      _log.debug('%s', content)
      raise BrokenRecordingError(f'its decoder fails ({printable(content.splitlines()[-1])})')
    return content

  def _start(self):
    process = HelperProcess()
    self.running.append(process)
    return process

  def _end(self, process) -> int | None:
    self.running.remove(process)
    return process.end()


def _ending(status):
  if status is not None and status < 0:
    return signal.Signals(-status).name
  return f'status {status}'


def processes() -> list[int]:
  """Returns the system's numbers of the decoding processes."""
  return [process.number for process in _pool().running]


@functools.cache
def _pool() -> _Pool:
  return _Pool()


def _call(task):
  if os.name == 'nt':  # Windows hands no connection on to a new program
    return task()
  return _pool().call(task)
