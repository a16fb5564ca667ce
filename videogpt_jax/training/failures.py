"""What libraries leave behind when they fail, beside our own line: noise, and threads."""

import contextlib
import gc
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator

PATIENCE = 60.0
"""Seconds that the other parts of a write may take to end after one has failed."""

LOGS = ('absl', 'asyncio')
"""Loggers through which Orbax, clu and the event loops that Orbax runs tell of failures."""


@contextlib.contextmanager
def quiet(library: str) -> Iterator[None]:
  """Leaves out what a library prints when it fails: errors, warnings, tracebacks.

  Args:
    library: name of its package.
  """

  def wanted(record: logging.LogRecord) -> bool:
    if record.name == 'asyncio':  # of parts that nobody waits for any more
      return 'was never retrieved' not in record.getMessage()
    told = record.levelno >= logging.ERROR or bool(record.exc_info)
    return not (told and f'{os.sep}{library}{os.sep}' in record.pathname)

  def unraisable(found):
    # Other parts end after Orbax has closed their event loop.
    if str(found.exc_value) != 'Event loop is closed':
      outer(found)

  outer, sys.unraisablehook = sys.unraisablehook, unraisable
  for name in LOGS:
    logging.getLogger(name).addFilter(wanted)
  try:
    with warnings.catch_warnings():
      warnings.filterwarnings('ignore', 'coroutine .* was never awaited', RuntimeWarning)
      yield
  finally:
    sys.unraisablehook = outer
    for name in LOGS:
      logging.getLogger(name).removeFilter(wanted)


def writers() -> set[threading.Thread]:
  """Returns the threads in which Orbax writes."""
  return {t for t in threading.enumerate() if type(t).__module__.startswith('orbax.')}


def settle(patience: float = PATIENCE):
  """Waits until no thread of Orbax writes.

  A part of a write that fails ends the write, and the others go on in threads of their own. They
  would fill folders that are being removed, and make the next write fail.
  """
  until = time.monotonic() + patience
  for thread in writers():
    # Not its own `join`, which raises what the thread has met.
    threading.Thread.join(thread, max(until - time.monotonic(), 0))
  gc.collect()  # asyncio tells of failures that nobody has asked for when they are freed
