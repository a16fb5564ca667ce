"""Signs of life of a long task, for whoever waits for it."""

import time
from collections.abc import Callable

EVERY = 1.0  # seconds between two signs

_listener: Callable[[], None] | None = None
_last = 0.0


def listen(listener: Callable[[], None]):
  """Has `listener` called about once a second as long as this process gets on."""
  global _listener
  _listener = listener


def beat():
  """Says that a task gets on: called for each packet of a video."""
  global _last
  if _listener and time.monotonic() - _last > EVERY:
    _last = time.monotonic()
    _listener()
