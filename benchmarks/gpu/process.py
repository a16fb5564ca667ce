"""Runs a part in a process of its own, which may crash, hang or fill the memory.

The child sends messages (kind, content): 'started' with the machine and the part's text, or
'refused' with the reason and no more; 'begun' and 'row' for every case; 'done' at the end. 'failed'
has the reason. What the child prints goes to the log.
"""

import faulthandler
import importlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.gpu.case import Case, LeftOut
from videogpt_jax.errors import UserError

Message = tuple[str, Any]

GRACE = 1.5
"""A part begins no case after its time, and is stopped after this many times as much."""


def run_part(
  module: str, size: str, out: str, log: str, seconds: float, limit: float
) -> Iterator[Message]:
  """Yields the messages of a part as they come, and ('failed', reason) if it did not end well.

  Args:
    module: of the part.
    size: of `SIZES`.
    out: folder for the part's files.
    log: file that the child's output is added to.
    seconds: after which no further case begins.
    limit: seconds after which the process is stopped, at most.
  """
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe(duplex=False)
  begun, last = time.monotonic(), 'starting'
  process = context.Process(target=_work, args=(theirs, module, size, out, log, seconds))
  process.start()
  theirs.close()
  end = begun + min(GRACE * seconds, limit)
  try:
    while ours.poll(max(end - time.monotonic(), 0)):
      kind, content = ours.recv()
      yield kind, content
      last = content if kind == 'begun' else last
      if kind in ('done', 'refused'):
        process.join(timeout=5)
        return
    yield 'failed', f'stopped after {time.monotonic() - begun:.0f} s, at: {last}'
  except EOFError:
    process.join()
    yield 'failed', f'the process ended with status {process.exitcode}, at: {last}\n{_tail(log)}'
  finally:
    process.kill()
    process.join()


def _work(connection: Connection, module: str, size: str, out: str, log: str, seconds: float):
  begun = time.monotonic()
  with open(log, 'ab') as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  faulthandler.enable()
  send = lambda kind, content=None: connection.send((kind, content))
  try:
    from benchmarks.gpu import machine

    found = machine.describe()
    if size != 'tiny' and found['platform'] != 'gpu':
      send('refused', machine.no_gpu(found['platform']))
      return
    part = importlib.import_module(module)
    send('started', {'machine': found, 'about': part.ABOUT})
    for case in part.cases(size, out):
      send('begun', case.name)
      send('row', outcome(case, late=time.monotonic() - begun > seconds))
    send('done')
  except Exception:
    send('failed', traceback.format_exc())
    send('done')


def outcome(case: Case, late: bool) -> dict[str, Any]:
  """Runs a case, unless it is too late, and returns its row.

  The row has the figures; or why the case was left out: it cannot be run here, or there was no time
  or no memory; or a fault with its traceback.
  """
  if late:
    return {'name': case.name, 'left_out': 'no time was left'}
  try:
    return {'name': case.name} | case.run()
  except (LeftOut, UserError) as reason:
    return {'name': case.name, 'left_out': str(reason)}
  except Exception as error:
    told = f'{type(error).__name__}: {error}'
    if 'out of memory' in told.lower():
      return {'name': case.name, 'left_out': f'does not fit into the memory: {told[:200]}'}
    return {'name': case.name, 'fault': told, 'traceback': traceback.format_exc()}


def _tail(log: str, n: int = 40) -> str:
  with open(log, encoding='utf-8', errors='replace') as file:
    return ''.join(file.readlines()[-n:])
