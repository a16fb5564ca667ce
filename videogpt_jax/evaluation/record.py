"""Records of an evaluation: written as JSON, summarised, and tied to the version of the code."""

import json
import pathlib
import subprocess
from typing import Any

from videogpt_jax import files
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation.scoring import Estimates


def of_estimates(estimates: Estimates) -> dict[str, dict[str, Any]]:
  """Returns `scores` (with `_std`, over trials) and their `intervals`, by name."""
  scores, intervals = {}, {}
  for name, score in estimates.items():
    scores[name] = score.value
    if score.deviation is not None:
      scores[f'{name}_std'] = score.deviation
    if score.interval is not None:
      intervals[name] = list(score.interval)
  return {'scores': scores, 'intervals': intervals}


def as_metrics(result: dict[str, Any]) -> dict[str, float]:
  """Returns the scores of a record and the ends of their intervals, `_low` and `_high`."""
  ends = {}
  for name, (low, high) in result['intervals'].items():
    ends |= {f'{name}_low': low, f'{name}_high': high}
  return result['scores'] | ends


def write(result: dict[str, Any], path: pathlib.Path) -> None:
  """Writes a record as JSON; NaN and infinity, which JSON lacks, become strings."""
  scores = {name: x if abs(x) < float('inf') else str(x) for name, x in result['scores'].items()}
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, json.dumps(result | {'scores': scores}, indent=2) + '\n')
  except OSError as error:
    raise UserError(f'cannot write {path} ({error.strerror or error}); choose another') from error


def summarise(result: dict[str, Any]) -> str:
  """Returns a record as lines of text."""
  scores, protocol, clip = result['scores'], result['protocol'], result['clip']
  lines = []
  for name, score in scores.items():
    if not name.endswith('_std'):
      deviation = scores.get(f'{name}_std')
      spread = '' if deviation is None else f' +- {deviation:.3g}'
      if name in result['intervals']:
        spread += '  (95 %: {:.6g} to {:.6g})'.format(*result['intervals'][name])
      spread += '  *' if name in result.get('trained_on', ()) else ''
      lines.append(f'{name:24} {score:.6g}{spread}')
  if result.get('trained_on'):
    lines.append('* by the network of the perceptual loss: not to be compared with other models')
  lines.append(
    f'protocol {protocol["name"]}: {protocol["n_clips"] or "all"} clips, {protocol["n_trials"]} '
    f'trial(s), clips of {"x".join(map(str, clip["size_t_h_w_c"]))}, seed {result["seed"]}'
  )
  lines += [f'missing {names}: give {how}' for names, how in result['missing'].items()]
  return '\n'.join(lines + [f'warning: {text}' for text in result['warnings']])


def code_version() -> str:
  """Returns the commit of this code, `-dirty` if files differ from it; 'unknown' outside git."""
  folder = pathlib.Path(__file__).parents[2]
  if not (folder / '.git').exists():
    return 'unknown'
  command = ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=40']
  try:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'
