"""One row of an ablation table: trained to its end and scored, sharing what other rows trained."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from etils.epath import Path

from videogpt_jax import workdir
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import intervals, record
from videogpt_jax.files import read_json
from videogpt_jax.stages import run, score
from videogpt_jax.training.logging import say


def with_steps(experiment: Experiment, steps: Mapping[str, int]) -> Experiment:
  """Returns a row with other numbers of training steps, and a name (its folder's) that says so.

  Args:
    experiment: the row.
    steps: by stage, `vqvae` or `prior`.
  """
  changes = {
    f'{stage}_training': dataclasses.replace(getattr(experiment, f'{stage}_training'), steps=n)
    for stage, n in steps.items()
  }
  return dataclasses.replace(experiment, name=f'{experiment.name}{suffix(steps)}', **changes)


def suffix(steps: Mapping[str, int]) -> str:
  """Returns what names of rows and tables with these numbers of steps end with."""
  return ''.join(f'_{stage}{n}' for stage, n in steps.items())


def with_seed(experiment: Experiment, seed: int) -> Experiment:
  """Returns a row with another seed of training and sampling; seed 0 is the row itself."""
  if not seed:
    return experiment
  return dataclasses.replace(experiment, name=f'{experiment.name}_seed{seed}', seed=seed)


def combine(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Returns the figures of a row from those of its runs, which differ in the seed.

  Args:
    runs: of `train_and_score`.
  Returns:
    the figures of a single run; or of several the means, `_std` over runs, and `_low` and `_high`,
    the 95 % interval of the mean.
  """
  if len(runs) == 1:
    return dict(runs[0])
  row = {}
  for name in set.intersection(*map(set, runs)):
    if not name.endswith(('_std', '_low', '_high')):
      values = [figures[name] for figures in runs]
      low, high = intervals.of_runs(values)
      row |= {name: float(np.mean(values)), f'{name}_std': float(np.std(values, ddof=1))}
      row |= {f'{name}_low': low, f'{name}_high': high}
  return row


def train_and_score(
  experiment: Experiment, root: Path, stages: Sequence[str], scoring: score.Scoring
) -> dict[str, float]:
  """Trains and scores one row in its folder in `root`; returns its figures, see as_metrics."""
  path = root / experiment.name
  say(f'== {path}')
  others = sorted(root.iterdir()) if root.is_dir() else []
  for stage in workdir.adopt(path, experiment, others):
    say(f'{stage}: copied from a row that trains the same')
  run.run(experiment, path, stages)
  file = path / 'evaluation.json'
  result = read_json(file, {})
  if not score.is_scored(result, path, scoring):
    result = score.score_workdir(path, scoring)
    record.write(result, file)
  flattering = [name for name in result.get('trained_on', ()) if name in result['scores']]
  if flattering:
    say(f'left out, as the tokenizer was trained on their network: {", ".join(flattering)}')
  endings = ('', '_low', '_high')
  left_out = {name + ending for name in flattering for ending in endings}
  figures = record.as_metrics(result)
  return {name: float(x) for name, x in figures.items() if name not in left_out}
