"""Kills, full disks, broken files: what the project survives, as a table.

  make chaos [PARTS='kills signals ...']
  python -m tests.chaos [PART ...] [--share=0.2]

Parts are those of `PARTS`; `--share` does that part of the cases of each. An hour for all.
"""

import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from tests.chaos import mutants, runs
from tests.chaos.kinds import KINDS
from tests.chaos.outcome import Outcome

BY_TESTS = {
  'numbers': ['tests/training/test_numbers.py'],
  'writes': ['tests/training/test_damage.py', 'tests/test_workdir.py'],
  'hosts': ['tests/test_two_hosts.py'],
  'hostile': ['tests/interop/test_hostile_files.py', 'tests/interop/test_torch_file.py'],
}
"""Parts that the tests do in full already."""


def _kills(folder: pathlib.Path, share: float) -> Outcome:
  return runs.kills(max(int(50 * share), 1), folder)


def _signals(folder: pathlib.Path, share: float) -> Outcome:
  found = Outcome()
  for first in (0, 1):
    numbers = [(signal.SIGTERM, signal.SIGINT)[(i + first) % 2] for i in range(len(runs.MOMENTS))]
    moments = list(zip(runs.MOMENTS, numbers, strict=True))
    found += runs.signals(moments[:: max(round(1 / share), 1)], folder / str(first))
  return found


def _disk(folder: pathlib.Path, share: float) -> Outcome:
  return runs.disk(folder)


def _mutants(folder: pathlib.Path, kind: str, n: int) -> Outcome:
  return mutants.run(kind, max(n, 1), folder / kind)


def _tests(files: list[str]) -> Outcome:
  command = [sys.executable, '-m', 'pytest', '-q', '-n0', '--durations=0', *files]
  done = subprocess.run(command, capture_output=True, text=True)
  found = Outcome()
  found.counts[done.stdout.strip().splitlines()[-1]] += 1
  found.check(done.returncode == 0, done.stdout[-3000:])
  return found


def _parts(share: float) -> dict[str, Callable[[pathlib.Path], Outcome]]:
  parts = {
    'kills': lambda folder: _kills(folder, share),
    'signals': lambda folder: _signals(folder, share),
    'disk': lambda folder: _disk(folder, share),
  }
  for kind in KINDS:
    n = int((100 if kind == 'workdir' else 200) * share)
    parts[kind] = lambda folder, kind=kind, n=n: _mutants(folder, kind, n)
  return parts | {name: lambda _, files=files: _tests(files) for name, files in BY_TESTS.items()}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('parts', nargs='*')
  parser.add_argument('--share', type=float, default=1.0)
  given = parser.parse_args()
  parts, table, failed = _parts(given.share), [], False
  for name in given.parts or parts:
    if name not in parts:
      parser.error(f'unknown part {name!r}; parts are {", ".join(parts)}')
    begun, folder = time.monotonic(), pathlib.Path(tempfile.mkdtemp(prefix='chaos-'))
    found = parts[name](folder)
    shutil.rmtree(folder, ignore_errors=True)
    for fault in found.faults:
      print(f'{name}: {fault}', flush=True)
    failed |= bool(found.faults)
    table.append(f'| {name} | {found} | {time.monotonic() - begun:.0f} s |')
    print(table[-1], flush=True)
  print('\n'.join(['', '| part | what became of it | time |', '|---|---|---|', *table]))
  sys.exit(failed)


if __name__ == '__main__':
  main()
