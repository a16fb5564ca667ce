"""SIGTERM and SIGINT at any moment of a run: noted where there is a state to save, else obeyed."""

import itertools
import os
import select
import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils

from videogpt_jax.training.distributed import PreemptedError

GRACE = 3.0
"""Seconds after which a process ends although a library does not let the exception through."""


class Signals:
  """Notices SIGTERM (the machine is about to be taken away) and SIGINT; a second one ends at once.

  A thread of its own sees them too, since the main thread may be in compiled code for long.

  With several processes and something to save, JAX's service passes a SIGTERM on and chooses the
  step at which all stop, so that `arrived` becomes true in all at once.

  Args:
    saves: whether the block asks `arrived`, and saves. Otherwise PreemptedError is raised in it.
  """

  # Counts over all stages of the run, since JAX's service compares the number across processes.
  _calls = itertools.count()

  def __init__(self, saves: bool):
    self.saves, self.number = saves, signal.SIGTERM
    self._signalled, self._previous, self._thread = False, {}, None

  def __enter__(self) -> 'Signals':
    if threading.current_thread() is not threading.main_thread():
      return self  # which Python lets have no handlers
    numbers = [signal.SIGINT]
    if not (self.saves and jax.distributed.is_initialized()):
      numbers.append(signal.SIGTERM)
    self._reads, self._writes = os.pipe()
    os.set_blocking(self._writes, False)
    self._outer = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
    self._thread = threading.Thread(target=self._listen, daemon=True, name='signals')
    self._thread.start()
    self._previous = {number: signal.signal(number, self._heard) for number in numbers}
    return self

  def __exit__(self, *exception):
    if self._thread is None:
      return
    for number, handler in self._previous.items():
      if handler is not None:  # else it was no handler of Python
        signal.signal(number, handler)
    signal.set_wakeup_fd(self._outer)
    os.write(self._writes, b'\0')
    self._thread.join()
    os.close(self._writes)
    os.close(self._reads)

  def arrived(self) -> bool:
    """Returns whether to stop; every process must call it equally often."""
    if jax.distributed.is_initialized():
      return multihost_utils.reached_preemption_sync_point(next(self._calls))
    return self._signalled

  def _heard(self, number: int, _):
    """Python's handler, in the main thread."""
    if not self.saves:
      raise PreemptedError(number=number)
    if not self._signalled:
      self._signalled, self.number = True, number
      if jax.distributed.is_initialized():
        os.kill(os.getpid(), signal.SIGTERM)  # which JAX passes on

  def _listen(self):
    """Reads the numbers of signals as they come, until a zero."""
    already = False
    while number := os.read(self._reads, 1)[0]:
      if number not in (signal.SIGTERM, signal.SIGINT):
        continue
      if self.saves and not already:
        name = signal.Signals(number).name
        print(f'{name}: stopping; a second signal ends at once', file=sys.stderr, flush=True)
      elif already or not select.select([self._reads], [], [], GRACE)[0]:
        print(PreemptedError(number=number), file=sys.stderr, flush=True)
        os._exit(PreemptedError(number=number).status)
      already = True
