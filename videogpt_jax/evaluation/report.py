"""What is done with a result: written, printed, and tied to the version of the code."""

import json
import pathlib
import subprocess
from typing import Any


def write(result: dict[str, Any], path: pathlib.Path) -> None:
  """Writes a result as JSON; what JSON has no number for (infinity) becomes a string."""
  scores = {name: x if abs(x) < float('inf') else str(x) for name, x in result['scores'].items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(result | {'scores': scores}, indent=2) + '\n')


def summarise(result: dict[str, Any]) -> str:
  """A result as lines for people."""
  scores, protocol, clip = result['scores'], result['protocol'], result['clip']
  lines = []
  for name, score in scores.items():
    if not name.endswith('_std'):
      deviation = scores.get(f'{name}_std')
      spread = '' if deviation is None else f' +- {deviation:.3g}'
      lines.append(f'{name:24} {score:.6g}{spread}')
  lines.append(
    f'protocol {protocol["name"]}: {protocol["n_clips"] or "all"} clips, {protocol["n_trials"]} '
    f'trial(s), clips of {"x".join(map(str, clip["size_t_h_w_c"]))}, seed {result["seed"]}'
  )
  lines += [f'missing {names}: give {how}' for names, how in result['missing'].items()]
  return '\n'.join(lines + [f'warning: {text}' for text in result['warnings']])


def code_version() -> str:
  """The commit of this code, with `-dirty` where files differ from it; 'unknown' outside git."""
  folder = pathlib.Path(__file__).parents[2]
  if not (folder / '.git').exists():
    return 'unknown'
  command = ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=40']
  try:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'
