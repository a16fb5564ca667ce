"""A thread that looks after a run: steps that take too long, hosts that no longer answer.

Each process of a run writes a line about itself into a folder that all share, every few seconds,
and reads those of the others. What has changed is alive.
"""

import contextlib
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import jax
from etils.epath import Path

from videogpt_jax import files
from videogpt_jax.errors import UserError
from videogpt_jax.training.clock import Clock

HOSTS = '.hosts'
"""Folder in a workdir with a file for each process."""

PERIOD = 5.0
"""Seconds between two lines of a process."""

SILENT_ROUNDS = 6
"""So many rounds without a new line from another process, and it counts as dead. A round ends when
this process has written and read, so a disk that stalls for all of them kills none."""

TOO_LONG = 10.0
"""Times the median of the last steps, from which on a step is reported."""

SHORTEST = 10.0
"""Seconds that a step has to take, at least, to be reported."""

FEW_STEPS = 5
"""Steps that have to be done before there is a median."""


class DeadHostError(UserError):
  """Another process of the run has ended, or no longer answers."""


def clear(folder: Path):
  """Removes the lines of an earlier run. One process calls it before any begins to watch."""
  if folder.exists():
    for file in folder.iterdir():
      file.unlink(missing_ok=True)


class Watch:
  """Looks after the training of this process and, where they share a folder, at the others.

  Args:
    folder: shared by the processes of the run, with no lines of an earlier one (see `clear`); None
      for a single process.
    period: seconds of a round.
    shortest: see `SHORTEST`.
  """

  def __init__(
    self, folder: Path | None = None, period: float = PERIOD, shortest: float = SHORTEST
  ):
    self.folder, self.period, self.shortest = folder, period, shortest
    self._me = {'host': socket.gethostname(), 'process': jax.process_index()}
    self._training: tuple[str, Clock] | None = None
    self._told: tuple | None = None  # the phase that was reported, so that it is reported once
    self._lines: dict[str, str] = {}
    self._silent: dict[str, int] = {}  # rounds
    self._rounds, self._stop = 0, threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True, name='watch')

  def __enter__(self) -> 'Watch':
    if self.folder:
      self.folder.mkdir(parents=True, exist_ok=True)
      self._write({'phase': self._phase()[0]})
    self._thread.start()
    return self

  def __exit__(self, kind, error, traceback):
    try:
      if self.folder and isinstance(error, Exception) and not isinstance(error, UserError):
        self._explain(error)
    finally:
      self._stop.set()
      self._thread.join(self.period)
      self._leave(error)

  @contextlib.contextmanager
  def training(self, stage: str, clock: Clock) -> Iterator[None]:
    """Looks at the steps of a stage, whose clock says what is being done."""
    self._training = stage, clock
    try:
      yield
    finally:
      self._training = None

  def _run(self):
    while not self._stop.wait(self.period):
      with contextlib.suppress(OSError, ValueError, KeyError):
        if self.folder:
          self._write({'phase': self._phase()[0]})
          self._read()
          self._rounds += 1
        self._look_at_the_step()
      if dead := self._dead():
        _end(f'{dead} has not answered for {SILENT_ROUNDS * self.period:.0f} s; {_REMEDY}')

  def _phase(self) -> tuple[str, float]:
    """What this process is doing, and for how many seconds."""
    if self._training is None:
      return 'no training', 0.0
    stage, clock = self._training
    part, since = clock.phase
    return f'{part} of {stage}', time.monotonic() - since

  def _look_at_the_step(self):
    """Reports a step that takes too long, once, with the hosts that are not waiting in it."""
    if self._training is None or self._me['process']:
      return
    stage, clock = self._training
    durations, phase = list(clock.durations), clock.phase
    seconds = time.monotonic() - phase[1]
    if len(durations) < FEW_STEPS or phase[0] not in ('steps', 'data', 'redone'):
      return
    median = statistics.median(durations)
    if seconds > max(TOO_LONG * median, self.shortest) and phase != self._told:
      self._told = phase
      told = [json.loads(line) for line in self._lines.values()]
      others = [who for who in told if who['phase'] != f'{phase[0]} of {stage}']
      where = [f'{_name(who)} is in {who["phase"]}' for who in others]
      where = where or [f'{_name(self._me)} is in {phase[0]} of {stage}']
      print(
        f'warning: {stage}: step {clock.reached} has taken {seconds:.0f} s so far, the median is '
        f'{median:.2g} s; {", ".join(where)}',
        file=sys.stderr,
        flush=True,
      )

  def _write(self, content: dict):
    line = json.dumps(self._me | content | {'round': self._rounds})
    files.replace(self.folder / str(self._me['process']), line)

  def _read(self):
    for file in self.folder.iterdir():
      if not file.name.isdigit() or int(file.name) == self._me['process']:
        continue
      line = file.read_text()
      same = line == self._lines.get(file.name)
      self._silent[file.name] = self._silent.get(file.name, 0) + 1 if same else 0
      self._lines[file.name] = line
    for name in self._silent.keys() - {file.name for file in self.folder.iterdir()}:
      self._silent.pop(name)  # it has left

  def _dead(self, rounds: int = SILENT_ROUNDS) -> str:
    """Returns the name of a process that has not changed its line for so long, or ''."""
    for name, silent in list(self._silent.items()):
      if silent >= rounds:
        who = json.loads(self._lines[name])
        return f'{_name(who)}, last in {who["phase"]},'
    return ''

  def _explain(self, error: Exception):
    """Raises DeadHostError if another process has ended, which is why this one has failed."""
    print('this process has failed; is another one gone?', file=sys.stderr, flush=True)
    until = self._rounds + 4
    while self._rounds < until and self._thread.is_alive():
      time.sleep(self.period / 10)
      for line in list(self._lines.values()):
        who = json.loads(line)
        if 'failed' in who:
          raise DeadHostError(f'{_name(who)} has failed: {who["failed"]}; {_REMEDY}') from error
      if dead := self._dead(rounds=2):
        raise DeadHostError(f'{dead} is gone; {_REMEDY}') from error

  def _leave(self, error: BaseException | None):
    if not self.folder:
      return
    with contextlib.suppress(OSError, ValueError):  # etils' error for a folder that is not empty
      if isinstance(error, Exception):
        text = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        self._write({'phase': 'failure', 'failed': text})
      else:
        (self.folder / str(self._me['process'])).unlink()
        self.folder.rmdir()  # by the last one


_REMEDY = 'this process ends; the same command on all hosts resumes from the last checkpoint'


def _name(who: dict) -> str:
  return f'host {who["host"]} (process {who["process"]})'


def _end(line: str) -> NoReturn:
  """Ends the process although its other threads may wait for ever."""
  print(f'error: {line}', file=sys.stderr, flush=True)
  os._exit(1)
