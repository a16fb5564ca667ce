"""Runs or resumes the rows of an ablation table of the paper, and prints it beside the paper's.

  python -m videogpt_jax.ablate --table=T5
  python -m videogpt_jax.ablate --table=T4 --reduced

At full size, BAIR and an accelerator are needed; --reduced trains small models on the embedded
digits instead. Rows are those of configs/ablations.py, each in a folder of its own under --workdir;
what two rows, or two tables, train alike is trained once. Interrupted, the same command goes on.
"""

import importlib
from collections.abc import Sequence

from absl import flags
from etils.epath import Path

from videogpt_jax import cli, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import comparison, protocols, report
from videogpt_jax.evaluation.networks import load_networks
from videogpt_jax.stages import run, score
from videogpt_jax.training import distributed
from videogpt_jax.training.logging import read_json, say

_TABLES = ('T3', 'T4', 'T5', 'T6', 'T7')

_TABLE = flags.DEFINE_enum('table', None, _TABLES, 'Which table.')
_REDUCED = flags.DEFINE_bool('reduced', False, 'Small models on the embedded digits.')
_ROWS = flags.DEFINE_list('rows', [], 'Only these rows, such as 2,4; all by default.')
_WORKDIR = flags.DEFINE_string('workdir', 'runs/ablations', "Folder of the rows' folders.")
_FVD_WEIGHTS = flags.DEFINE_string('fvd_weights', '', "I3D's file, for the columns of FVD.")
_TRUST = flags.DEFINE_list('trust_sha256', [], 'SHA-256 of a file of weights that you vouch for.')
_PROTOCOL = flags.DEFINE_enum(
  'protocol', 'videogpt', list(protocols.PROTOCOLS), 'Clips in a trial of FVD, and trials.'
)


def main(argv: Sequence[str]):
  del argv
  distributed.refuse_others('ablate')
  if not _TABLE.value:
    raise ValueError(f'--table is missing; one of {", ".join(_TABLES)}')
  ablations = _rows_of_the_paper()
  name, root = ablations.TABLES[_TABLE.value], Path(_WORKDIR.value)
  rows = _ROWS.value or list(ablations.PAPER[name])
  experiments = {row: ablations.experiment(name, row, _REDUCED.value) for row in rows}
  networks = load_networks(_FVD_WEIGHTS.value, trusted=_TRUST.value)
  scoring = score.Scoring(protocols.PROTOCOLS[_PROTOCOL.value], networks)
  # What only the tokenizer is scored by needs no prior.
  stages = ('vqvae',) if name == 'axial' else ('vqvae', 'prior')
  measured = {}
  for row, experiment in experiments.items():
    measured[row] = train_and_score(experiment, root, stages, scoring)
  text = comparison.table(ablations.PAPER[name], measured)
  file = root / f'{_TABLE.value}{"_reduced" if _REDUCED.value else ""}.md'
  file.write_text(f'{text}\n')
  say(f'{text}\n\nwritten to {file}')
  if not _FVD_WEIGHTS.value:
    say('for the columns of FVD give --fvd_weights=FILE (docs/evaluation.md says where they are)')


def _rows_of_the_paper():
  try:
    return importlib.import_module('configs.ablations')
  except ModuleNotFoundError as error:
    raise ValueError(
      f'{error.name} is not here; run this in the root of a checkout, which has configs/'
    ) from None


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


if __name__ == '__main__':
  cli.start(main)
