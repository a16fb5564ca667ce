"""Runs of the training command that start at once: forked from a process that has loaded all."""

import multiprocessing
import os
import pathlib
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from tests.conftest import QUICK

PRELOADED = ['cli', 'stages.run', 'input.pipeline', 'training.tensorboard', 'input.sources.digits']

_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([f'videogpt_jax.{name}' for name in PRELOADED])

CONFIG = '--config=tests/tiny_config.py'


class Command:
  """The command in a process of its own.

  Args:
    workdir: of the run.
    flags: besides --config and --workdir.
  """

  def __init__(self, workdir: pathlib.Path, *flags: str):
    self._output = tempfile.NamedTemporaryFile()  # noqa: SIM115 (as long as this is)
    arguments = [CONFIG, f'--workdir={workdir}', *flags]
    self.process = _context.Process(target=_run, args=(arguments, self._output.name))
    self.process.start()

  @property
  def printed(self) -> str:
    return pathlib.Path(self._output.name).read_text(errors='replace')

  def wait_for(self, holds: Callable[[], bool], seconds: float = 200) -> bool:
    """Waits until something holds; returns False if the command has ended before."""
    end = time.monotonic() + seconds
    while not holds():
      if not self.process.is_alive():
        return False
      assert time.monotonic() < end, f'it hangs: {self.printed[-2000:]}'
      time.sleep(0.002)
    return True

  def end(self, number: int | None = None, seconds: float = 200) -> int:
    """Sends a signal, if one is given, and returns the status."""
    if number is not None:
      os.kill(self.process.pid, number)
    self.process.join(seconds)
    assert self.process.exitcode is not None, f'it hangs: {self.printed[-2000:]}'
    return self.process.exitcode


def _run(arguments: Sequence[str], output: str):
  os.environ['XLA_FLAGS'] = QUICK  # one device, whatever other tests have
  with open(output, 'ab', 0) as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  sys.argv = ['videogpt_jax.main', *arguments]
  runpy.run_module('videogpt_jax.main', run_name='__main__')
