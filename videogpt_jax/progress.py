"""A line that says how far a job is: redrawn on a terminal, written now and then into a file."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

LOG_SECONDS = 30.0
"""Between two lines where the stream is a file or a pipe."""

TICK_SECONDS = 1.0
"""Between two messages of `ProgressLine.ticking`."""


class ProgressLine:
  """Shows the latest of many messages.

  Args:
    stream: where to write; standard error by default.
    every: seconds between two lines where the stream is no terminal.
  """

  def __init__(self, stream: TextIO | None = None, every: float = LOG_SECONDS):
    self.stream = stream or sys.stderr
    self.every, self._shown, self._open = every, time.monotonic(), False

  def show(self, text: str, important: bool = False):
    """Replaces the message; an important one is written into a file at once."""
    if self.stream.isatty():
      print(f'\r\x1b[K{text}', end='', file=self.stream, flush=True)
      self._open = True
    elif important or time.monotonic() - self._shown > self.every:
      print(text, file=self.stream, flush=True)
      self._shown = time.monotonic()

  def close(self):
    """Ends the line on a terminal."""
    if self._open:
      print(file=self.stream, flush=True)
      self._open = False

  @contextlib.contextmanager
  def ticking(self, text: Callable[[], str]) -> Iterator[None]:
    """Shows the message that `text` returns every second, and ends the line at the end."""
    done = threading.Event()

    def tick():
      while not done.wait(TICK_SECONDS):
        self.show(text())

    thread = threading.Thread(target=tick, daemon=True, name='progress')
    thread.start()
    try:
      yield
    finally:
      done.set()
      thread.join()
      self.close()
