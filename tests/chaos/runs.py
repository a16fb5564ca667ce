"""Runs that are killed, stopped, or lose their disk."""

import contextlib
import json
import pathlib
import random
import re
import signal
import subprocess
import time

from tests.chaos.commands import Command
from tests.chaos.outcome import Outcome

STAGES = ('vqvae', 'prior')


def _training(steps: int, checkpoint_every: int = 2) -> list[str]:
  keys = {'steps': steps, 'log_every': 1, 'checkpoint_every': checkpoint_every}
  keys['evaluate_every'] = 10_000
  return [f'--config.{s}_training.{key}={value}' for s in STAGES for key, value in keys.items()]


def _sums(workdir: pathlib.Path) -> list[dict]:
  """The checksums of every array of the newest checkpoint of each stage."""
  found = []
  for stage in STAGES:
    step = _checkpoints(workdir, stage)[-1]
    file = workdir / stage / 'checkpoints' / str(step) / 'format' / 'metadata'
    found.append({'step': step, **json.loads(file.read_text())['sums']})
  return found


def _checkpoints(workdir: pathlib.Path, stage: str = 'vqvae') -> list[int]:
  """The steps of a stage's checkpoints, in order."""
  folder = workdir / stage / 'checkpoints'
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def _leftovers(workdir: pathlib.Path) -> list[str]:
  wrong = ('tmp', '.lock', '.damaged', '.hosts')
  return [str(p) for p in workdir.rglob('*') if any(part in p.name for part in wrong)]


def _steps(printed: str) -> list[tuple[str, int]]:
  return [(stage, int(n)) for stage, n in re.findall(r'^(\w+) +step +(\d+)/', printed, re.M)]


def _saving(workdir: pathlib.Path) -> bool:
  """Whether a checkpoint is being written: its folder has not got its name yet."""
  folders = [workdir / stage / 'checkpoints' for stage in STAGES]
  return any('tmp' in p.name for folder in folders if folder.is_dir() for p in folder.iterdir())


def _reached(run: Command, how: str, draw: random.Random, workdir: pathlib.Path) -> bool:
  """Waits for the moment of a kill; returns False if the run has ended before."""
  if how == 'anywhere':
    until = time.monotonic() + 3 * draw.random()
    return run.wait_for(lambda: time.monotonic() > until)
  wanted, in_save = draw.randrange(1, 9), how == 'in a save'
  return run.wait_for(
    lambda: len(_steps(run.printed)) >= wanted and (not in_save or _saving(workdir))
  )


def kills(count: int, folder: pathlib.Path, seed: int = 0) -> Outcome:
  """Kills a run of both stages again and again: in steps, in saves, and at its start."""
  found, draw = Outcome(), random.Random(seed)
  flags = ['--stages=vqvae,prior', *_training(3 * count)]
  whole = Command(folder / 'whole', *flags)
  assert whole.end(seconds=500) == 0, whole.printed
  workdir, killed = folder / 'run', 0
  while True:
    run = Command(workdir, *flags)
    if killed == count:
      break
    how = draw.choice(('in a save', 'in a step', 'in a step', 'anywhere'))
    if not _reached(run, how, draw, workdir):
      break
    run.end(signal.SIGKILL)
    killed += 1
    found.counts[f'killed {how}'] += 1
    found.check(not re.search('Traceback|damaged', run.printed), f'{killed}: {run.printed[-600:]}')
  found.check(killed == count, f'{killed} kills only: {run.printed[-600:]}')
  found.check(run.end(seconds=500) == 0, f'the last: {run.printed[-600:]}')
  found.check(_sums(workdir) == _sums(folder / 'whole'), 'other parameters')
  found.check(not _leftovers(workdir), f'left: {_leftovers(workdir)}')
  return found


MOMENTS = (
  'loading TensorFlow',
  'vqvae: opening the clips and compiling',
  'vqvae  step 1/',
  'vqvae  step 4/',
  'vqvae  step 8/',  # whose last evaluation begins
  'prior: opening the clips and compiling',
  'prior  step 3/',
  'prior  step 8/',
  'sample: 3 videos',
  'evaluate: every held-out clip',
)
"""Lines after which a signal comes."""

STATUS = {signal.SIGTERM: 75, signal.SIGINT: 130}


def signals(moments: list[tuple[str, int]], folder: pathlib.Path) -> Outcome:
  """Sends a signal at each of these moments of one run, in order, and lets it go on from there."""
  found, workdir, flags, last = Outcome(), folder / 'run', _training(8, 100), ('', 0)
  for line, number in moments:
    case = f'{signal.Signals(number).name} after {line!r}'
    run = Command(workdir, *flags)
    reached = run.wait_for(lambda line=line, run=run: line in run.printed)
    begun = time.monotonic()
    status = run.end(number if reached else None)
    found.counts[signal.Signals(number).name] += 1
    if 'compiling' not in line:
      found.measure('seconds to the end', time.monotonic() - begun)
    found.check(status == STATUS[number], f'{case}: status {status}: {run.printed[-600:]}')
    found.check('goes on from there' in run.printed, f'{case}: {run.printed[-600:]}')
    steps = _steps(run.printed)
    lost = [n for stage, n in steps[:1] if stage == last[0] and n < last[1]]
    found.check(not lost, f'{case}: begins at step {lost} after {last[1]}')
    last = steps[-1] if steps else last
  run = Command(workdir, *flags)
  found.check(run.end(seconds=300) == 0, f'the last: {run.printed[-600:]}')
  found.check(not _leftovers(workdir), f'left: {_leftovers(workdir)}')
  return found


@contextlib.contextmanager
def _small_disk(folder: pathlib.Path, size: str):
  """A file system of this size in memory; None where it cannot be mounted."""
  folder.mkdir(parents=True, exist_ok=True)
  mounted = subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)], capture_output=True
  )
  try:
    yield folder if mounted.returncode == 0 else None
  finally:
    if mounted.returncode == 0:
      subprocess.run(['umount', '-l', str(folder)], check=False)


def _one_line(found: Outcome, case: str, run: Command):
  """Checks that a run ended with a line, and no traceback."""
  errors = [line for line in run.printed.splitlines() if line.startswith('error: ')]
  clean = len(errors) == 1 and 'Traceback' not in run.printed
  found.counts['told in one line' if clean else 'told otherwise'] += 1
  found.check(clean, f'{case}: {run.printed[-1500:]}')


def disk(folder: pathlib.Path) -> Outcome:
  """A disk that is full, one that is read-only, and a workdir that is removed in mid-run."""
  found, flags = Outcome(), ['--stages=vqvae', *_training(40)]
  with _small_disk(folder / 'disk', '1m') as small:
    if small is None:
      found.counts['left out: no file system can be mounted here'] += 1
    else:
      _disk(found, small, flags)
  workdir = folder / 'removed'
  run = Command(workdir, '--stages=vqvae', *_training(4000))
  assert run.wait_for(lambda: len(_steps(run.printed)) > 5), run.printed
  workdir.rename(folder / 'elsewhere')  # at once, as no deletion of files that are written is
  found.check(run.end() not in (0, 75), 'removed: no fault is told')
  _one_line(found, 'removed', run)
  _goes_on(found, 'removed', folder / 'elsewhere', _training(4000))
  return found


def _goes_on(found: Outcome, case: str, workdir: pathlib.Path, flags: list[str]):
  """Checks that the newest checkpoint of a VQ-VAE is intact: the next step follows it."""
  steps = _checkpoints(workdir)
  found.check(bool(steps), f'{case}: no checkpoint is left')
  run = Command(workdir, '--stages=vqvae', *flags)
  run.wait_for(lambda: bool(_steps(run.printed)))
  run.end(signal.SIGKILL)
  first = _steps(run.printed)[:1]
  found.check(first == [('vqvae', max(steps, default=0) + 1)], f'{case}: {run.printed[-600:]}')
  found.check('damaged' not in run.printed, f'{case}: {run.printed[-600:]}')


def _disk(found: Outcome, small: pathlib.Path, flags: list[str]):
  """What happens on a small disk: it is full, then larger, then read-only."""
  workdir = small / 'run'
  run = Command(workdir, *flags)
  found.check(run.end() == 1, f'full: {run.printed[-600:]}')
  _one_line(found, 'full', run)
  kept = _checkpoints(workdir)
  found.check(bool(kept), 'full: no checkpoint is left')
  remount = lambda options: subprocess.run(
    ['mount', '-o', f'remount,{options}', str(small)], check=True
  )
  remount('size=200m')
  run = Command(workdir, *flags)
  found.check(run.end() == 0, f'with room again: {run.printed[-600:]}')
  found.check(_steps(run.printed)[0][1] == max(kept) + 1, f'anew: {run.printed[-600:]}')
  remount('ro')
  run = Command(workdir, *flags, '--config.vqvae_training.steps=60')
  found.check(run.end() == 1, f'read-only: {run.printed[-600:]}')
  _one_line(found, 'read-only', run)
  found.check(_checkpoints(workdir)[-1:] == [40], 'read-only: the checkpoints have changed')
