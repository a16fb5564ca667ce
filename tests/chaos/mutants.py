"""Mutated inputs of each kind, read in a process of its own whose memory is limited.

  python -m tests.chaos.mutants KIND FIRST LAST FOLDER

prints a line of JSON for each mutant. A process that crashes or hangs loses one mutant.
"""

import contextlib
import json
import os
import pathlib
import queue
import random
import resource
import shutil
import subprocess
import sys
import threading
import traceback

from benchmarks import peak_memory
from tests.chaos.outcome import Outcome
from tests.conftest import QUICK

PATIENCE = 30.0 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
"""Seconds that reading a mutant may take, on a machine that does nothing else."""

MEMORY = 2 << 30
"""Bytes that it may take, besides what is loaded before it."""


def run(kind: str, count: int, folder: pathlib.Path) -> Outcome:
  """Reads the first `count` mutants of a kind."""
  found, done = Outcome(), 0
  while done < count:
    worker = subprocess.Popen(
      [sys.executable, '-m', 'tests.chaos.mutants', kind, str(done), str(count), str(folder)],
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      env=os.environ | {'XLA_FLAGS': QUICK, 'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '3'},
    )
    lines: queue.Queue = queue.Queue()
    threading.Thread(
      target=lambda out=worker.stdout, put=lines.put: [*map(put, out), put('')], daemon=True
    ).start()
    patience = 10 * PATIENCE  # for what is loaded first
    while True:
      try:
        line = lines.get(timeout=patience)
      except queue.Empty:
        line = json.dumps({'worse': 'hang', 'megabytes': 0})
      told = json.loads(line) if line else {'worse': 'crash', 'megabytes': 0}
      if 'ready' in told:
        patience = PATIENCE
        continue
      assert patience == PATIENCE, f'the intact {kind} cannot be read'
      found.measure('MB', told['megabytes'])
      found.counts[told.get('outcome', told.get('worse', ''))] += 1
      found.check(
        'worse' not in told, f'{kind} {done}: {told.get("worse")} {told.get("trace", "")}'
      )
      done += 1
      if done == count or told.get('worse') in ('crash', 'hang'):
        break
    worker.kill()
    worker.wait()
  return found


def _work(kind: str, first: int, last: int, folder: pathlib.Path):
  from tests.chaos.kinds import KINDS
  from videogpt_jax.errors import UserError
  from videogpt_jax.input.recording import BrokenRecordingError

  write, harm, read = KINDS[kind]
  intact, copied = folder / 'intact', folder / 'copied'
  shutil.rmtree(folder, ignore_errors=True)
  intact.mkdir(parents=True)
  with contextlib.redirect_stdout(sys.stderr):  # some tell what they do
    write(intact)
  for _ in range(2):  # loads libraries and starts threads
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(intact, copied)
    with contextlib.redirect_stdout(sys.stderr):
      read(copied)
  size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
  before = peak_memory.megabytes()
  print(json.dumps({'ready': True}), flush=True)
  for number in range(first, last):
    shutil.rmtree(copied)
    shutil.copytree(intact, copied)
    harm(random.Random(f'{kind} {number}'), copied)
    told = {}
    try:
      with contextlib.redirect_stdout(sys.stderr):
        read(copied)
      told['outcome'] = 'read'
    except (UserError, BrokenRecordingError) as error:
      told['outcome'] = 'refused'
      if len(str(error)) > 5000:
        told = {'worse': 'long line', 'trace': str(error)[:200]}
    except BaseException as error:
      told = {'worse': type(error).__name__, 'trace': traceback.format_exc()[-1500:]}
    print(json.dumps(told | {'megabytes': peak_memory.megabytes() - before}), flush=True)


if __name__ == '__main__':
  _work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4]))
