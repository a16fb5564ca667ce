"""A process that does tasks for this one, and can be ended: the two ends of their connection.

It is a new program, not a copy of this one, whose threads (TensorFlow's, JAX's) a copy would lack,
and imports neither of the two.
"""

import gc
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection, Pipe
from typing import Any

from videogpt_jax.input import heartbeat
from videogpt_jax.input.recording import BrokenRecordingError

_START_PATIENCE = 300.0  # seconds for a new process to begin, on a busy machine

_WATCH_EVERY = 2.0  # seconds

_PACKAGE = pathlib.Path(__file__).parents[1]

_PROGRAM = """
import sys, types
sys.path[:] = {path!r}
package = types.ModuleType('videogpt_jax')  # without its face, which imports JAX
package.__path__ = [{package!r}]
sys.modules['videogpt_jax'] = package
from videogpt_jax.input import decoders, helper_process  # what tasks need
helper_process.serve({handle})
"""


def serve(handle: int):
  """Does the tasks that come through a connection, until it ends: the program of a process."""
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)  # a job that is preempted saves first; it ends this one
  threading.Thread(target=_leave_with, args=[os.getppid()], daemon=True).start()
  connection = Connection(handle)
  heartbeat.listen(lambda: connection.send(('alive', None)))
  connection.send(('alive', None))
  gc.freeze()
  while True:
    try:
      task = connection.recv()
    except EOFError:
      return
    try:
      answer = ('done', task())
    except BrokenRecordingError as error:
      answer = ('broken', str(error))
    except Exception:
      answer = ('failed', traceback.format_exc())
    connection.send(answer)
    del task, answer
    gc.collect()  # frames, see picture.Pictures


def _leave_with(parent: int):
  """Ends this process when its parent has ended, whatever hangs here."""
  while os.getppid() == parent:
    time.sleep(_WATCH_EVERY)
  os._exit(1)


class HelperProcess:
  """One decoding process."""

  def __init__(self):
    self._connection, theirs = Pipe()
    handle = theirs.fileno()
    program = _PROGRAM.format(path=sys.path, package=str(_PACKAGE), handle=handle)
    one_thread = {'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}
    self._process = subprocess.Popen(
      [sys.executable, '-c', program],
      stdin=subprocess.DEVNULL,
      pass_fds=[handle],
      process_group=0,  # signals to the job's group, such as Ctrl-C, are the job's alone
      env=os.environ | one_thread,
    )
    theirs.close()
    self._receive(_START_PATIENCE)

  def do(self, task: bytes, patience: float) -> tuple[str, Any]:
    """Returns the answer to a task: 'done' and the result, or 'broken' or 'failed' and a message.

    Args:
      task: pickled, without arguments.
      patience: seconds to wait for a sign of life.
    Raises:
      TimeoutError: there is no sign of life.
      EOFError, OSError: the process has ended.
    """
    self._connection.send_bytes(task)
    while True:
      kind, content = self._receive(patience)
      if kind != 'alive':
        return kind, content

  def _receive(self, patience):
    if not self._connection.poll(patience):
      raise TimeoutError
    return self._connection.recv()

  @property
  def number(self) -> int:
    """What the system knows it by."""
    return self._process.pid

  def end(self) -> int | None:
    """Ends the process at once and returns how it ended, None if the system does not let it go."""
    self._connection.close()
    self._process.kill()
    try:
      return self._process.wait(timeout=1)
    except subprocess.TimeoutExpired:  # it waits for a disk
      return None
