"""What takes a run's figures and videos: one interface for TensorBoard and for every tracker."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

MOST_WAITING = 1000
"""Writes that wait at most; with more, what they wait for is taken to be gone."""

PATIENCE = 10.0
"""Seconds that a run waits at its end for what is still being written."""


class Writer(Protocol):
  """Takes figures and videos of steps, under names such as 'train/loss'.

  Steps need not grow: a run that goes back to a checkpoint does some of them again.
  """

  def write_scalars(self, step: int, scalars: Mapping[str, float]): ...

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    """Takes batches of videos uint8 [B T H W 3]."""

  def close(self, failed: bool = False):
    """Ends the run; `failed` tells that it has not come to its end."""


class Several:
  """Writes to several writers."""

  def __init__(self, writers: Sequence[Writer]):
    self._writers = writers

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    for writer in self._writers:
      writer.write_scalars(step, scalars)

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    for writer in self._writers:
      writer.write_videos(step, videos)

  def close(self, failed: bool = False):
    for writer in self._writers:
      writer.close(failed)


class OfStage:
  """A stage's share of a writer that takes a whole run: its name comes before every other name."""

  def __init__(self, writer: Writer, stage: str):
    self._writer, self._stage = writer, stage

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    self._writer.write_scalars(step, self._named(scalars))

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    self._writer.write_videos(step, self._named(videos))

  def close(self, failed: bool = False):
    """Does nothing, since the run goes on with another stage."""

  def _named(self, values: Mapping) -> dict:
    return {f'{self._stage}/{name}': value for name, value in values.items()}


class Background:
  """Writes in a thread of its own, so that no network holds training up.

  A write that fails is told of once. Nothing is written after it, and the run goes on.

  Args:
    name: of the writer, for messages.
    writer: where to.
    warn: prints a warning.
  """

  def __init__(self, name: str, writer: Writer, warn: Callable[[str], None]):
    self._name, self._writer, self._warn = name, writer, warn
    self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    self._failed = False
    self._thread = threading.Thread(target=self._work, daemon=True, name=name)
    self._thread.start()

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    scalars = dict(scalars)
    self._put(lambda: self._writer.write_scalars(step, scalars))

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    videos = dict(videos)
    self._put(lambda: self._writer.write_videos(step, videos))

  def close(self, failed: bool = False):
    """Waits for what is being written, but not for ever."""
    self._put(lambda: self._writer.close(failed))
    self._waiting.put(None)
    self._thread.join(PATIENCE)
    if self._thread.is_alive() and not self._failed:
      self._fail(f'it has not taken everything within {PATIENCE:.0f} s')

  def _put(self, write: Callable[[], None]):
    if self._waiting.qsize() > MOST_WAITING:
      self._fail(f'{MOST_WAITING} writes wait for it')
    if not self._failed:
      self._waiting.put(write)

  def _work(self):
    while (write := self._waiting.get()) is not None:
      if not self._failed:
        try:
          write()
        except Exception as error:  # whatever a library or a network raises
          self._fail(' '.join(str(error).split())[:200] or type(error).__name__)

  def _fail(self, reason: str):
    if not self._failed:
      self._failed = True
      self._warn(f'{self._name} gets no figures any more ({reason}); training goes on')
