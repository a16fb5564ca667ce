"""Where the time of a training went."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator

import jax

PARTS = ('steps', 'data', 'compile', 'evaluation', 'saving', 'redone')
"""What time goes into. `steps` counts steps that were done for the first time, `redone` those that
an interruption or a step back had lost. `data` is what the loop waits for clips, `saving` what it
waits for checkpoints, written or read, and for profiles. `compile` is tracing and compiling,
wherever it happens."""

COMPILING = '/jax/core/compile/'
"""Prefix of the events by which JAX tells how long a compilation took."""


class Clock:
  """Adds up seconds by part, from one block of code to the next.

  Attributes:
    reached: the last step that was ever done; up to there, steps are done anew.
    phase: (part, since when) of what is being done now; another thread may read it.
    durations: seconds from the beginning of a step to that of the next, of the last hundred.
  """

  def __init__(self, reached: int = 0, now: Callable[[], float] = time.monotonic):
    self.reached, self._now = reached, now
    self._seconds = dict.fromkeys(PARTS, 0.0)
    self._compiled: list[tuple[float, float]] = []  # since the last change of phase
    self.durations: collections.deque[float] = collections.deque(maxlen=100)
    self._counted, self._step_began = now(), None
    self.phase = 'compile', self._counted

  def __enter__(self) -> 'Clock':
    jax.monitoring.register_event_duration_secs_listener(self._heard)
    return self

  def __exit__(self, *exception):
    jax.monitoring.unregister_event_duration_listener(self._heard)

  @contextlib.contextmanager
  def during(self, part: str) -> Iterator[None]:
    """Counts the time of the block as this part, and not as that of the block around it."""
    outer, _ = self.phase
    self._change(part)
    try:
      yield
    finally:
      self._change(outer)

  def of_step(self, step: int):
    """Counts the time from now on, outside blocks, as that of this step."""
    part = 'redone' if step <= self.reached else 'steps'
    self.reached = max(self.reached, step)
    self._change(part)
    began = self.phase[1]
    if self._step_began is not None:
      self.durations.append(began - self._step_began)
    self._step_began = began

  def take(self) -> dict[str, float]:
    """Returns the seconds of each part since the last call."""
    self._change(self.phase[0])
    seconds, self._seconds = self._seconds, dict.fromkeys(PARTS, 0.0)
    return seconds

  def _change(self, part: str):
    now = self._now()
    compiled = sum(end - start for start, end in self._compiled)
    self._seconds['compile'] += compiled
    self._seconds[self.phase[0]] += max(now - self._counted - compiled, 0.0)
    self._compiled, self._counted, self.phase = [], now, (part, now)

  def _heard(self, event: str, seconds: float, **_):
    """Notes a compilation that has just ended; those inside it are part of it."""
    if event.startswith(COMPILING):
      end = self._now()
      start = max(end - seconds, self._counted)
      self._compiled = [span for span in self._compiled if span[0] < start]
      self._compiled.append((start, end))


def batches(clock: Clock, source: Iterator) -> Iterator:
  """Yields what `source` does, and counts the time that it takes as `data`."""
  while True:
    with clock.during('data'):
      batch = next(source, None)
    if batch is None:
      return
    yield batch
