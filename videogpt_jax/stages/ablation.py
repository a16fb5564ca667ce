"""One row of an ablation table: trained to its end and scored, sharing what other rows trained."""

from collections.abc import Sequence

from etils.epath import Path

from videogpt_jax import workdir
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import report
from videogpt_jax.stages import run, score
from videogpt_jax.training.logging import read_json, say


def train_and_score(
  experiment: Experiment, root: Path, stages: Sequence[str], scoring: score.Scoring
) -> dict[str, float]:
  """Brings one row to its end, in its folder in `root`; returns its scores."""
  path = root / experiment.name
  say(f'== {path}')
  others = sorted(root.iterdir()) if root.is_dir() else []
  for stage in workdir.adopt(path, experiment, others):
    say(f'{stage}: taken from a row that trains the same')
  run.run(experiment, path, stages)
  file = path / 'evaluation.json'
  result = read_json(file, {})
  if not score.is_scored(result, path, scoring):
    result = score.score_workdir(path, scoring)
    report.write(result, file)
  return {name: float(x) for name, x in result['scores'].items()}
