"""Checks and measures this package on a GPU: `python -m benchmarks.gpu`, in four minutes.

Writes gpu.json, gpu.md, gpu.log and profiles into a folder, row by row. A part that fails is
recorded, and the next one goes on; the exit status is then 1.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from benchmarks.gpu.parts import PARTS, SIZES
from benchmarks.gpu.process import run_part
from benchmarks.gpu.report import Report, line

MEMORY = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', 'XLA_CLIENT_MEM_FRACTION': '0.9'}
"""JAX takes memory as it needs it, since PyTorch needs some too."""

LOG = 'gpu.log'
"""What the parts and their libraries print."""


def main(argv: list[str] | None = None) -> int:
  """Runs the parts; returns the exit status."""
  arguments = _arguments(argv)
  names = arguments.only.split(',') if arguments.only else list(PARTS)
  if unknown := [name for name in names if name not in PARTS]:
    return _refuse(f'--only: no part {", ".join(unknown)}; the parts are {", ".join(PARTS)}')
  if not any(name.endswith('CLIENT_MEM_FRACTION') for name in os.environ):
    os.environ |= {k: os.environ.get(k, v) for k, v in MEMORY.items()}
  out = Path(arguments.out)
  out.mkdir(parents=True, exist_ok=True)
  (out / LOG).write_text('')
  command = shlex.join(['python', '-m', 'benchmarks.gpu', *(argv or sys.argv[1:])])
  report, end = Report(out, command), time.monotonic() + arguments.seconds
  for i, name in enumerate(names):
    left = max(end - time.monotonic(), 0)
    share = PARTS[name].share / sum(PARTS[n].share for n in names[i:])
    refusal = _run(report, name, arguments.size, left * share, left)
    if refusal:
      return _refuse(refusal)
  print(f'results: {out / "gpu.md"}, {out / "gpu.json"}; log: {out / LOG}')
  if report.failed:
    print(f'failed: {", ".join(report.failed)}', file=sys.stderr)
  return 1 if report.failed else 0


def _run(report: Report, name: str, size: str, seconds: float, limit: float) -> str | None:
  """Runs a part and reports on it; returns why this machine cannot run it, if so."""
  begun, out = time.monotonic(), str(report.folder)
  report.begin(name)
  for kind, content in run_part(PARTS[name].module, size, out, f'{out}/{LOG}', seconds, limit):
    if kind == 'refused':
      return content
    if kind == 'started':
      report.machine, report.parts[name]['about'] = content['machine'], content['about']
      _say(f'{name}, on {report.machine["device"]}')
    elif kind == 'row':
      report.parts[name]['rows'].append(content)
      _say(f'  {line(content)}')
    elif kind == 'failed':
      report.parts[name]['error'] = content
      _say(f'  {content.strip().splitlines()[-1]}')
    report.write()
  report.end(name, time.monotonic() - begun)
  report.write()
  return None


def _arguments(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser('python -m benchmarks.gpu', description=__doc__)
  parser.add_argument('--only', default='', help=f'parts, with commas: {",".join(PARTS)}')
  parser.add_argument('--out', default='runs/gpu', help='folder of the results')
  parser.add_argument('--size', default='full', choices=SIZES, help='tiny runs on a CPU too')
  parser.add_argument('--seconds', default=240.0, type=float, help='for all parts together')
  return parser.parse_args(argv)


def _say(text: str):
  print(text, flush=True)


def _refuse(reason: str) -> int:
  print(f'error: {reason}', file=sys.stderr)
  return 1


if __name__ == '__main__':
  sys.exit(main())
