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

from videogpt_jax import cli
from videogpt_jax.evaluation import comparison, protocols
from videogpt_jax.evaluation.networks import load_networks
from videogpt_jax.stages import score
from videogpt_jax.stages.ablation import train_and_score
from videogpt_jax.training import distributed
from videogpt_jax.training.logging import say

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
  measured = {
    row: train_and_score(experiment, root, stages, scoring)
    for row, experiment in experiments.items()
  }
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


if __name__ == '__main__':
  cli.start(main)
