"""Trains, samples and evaluates: flags in, stages run.

  python -m videogpt_jax.main --config=configs/demo.py [--workdir=DIR] [--stages=vqvae,prior]

A stage that has finished is not run again; one that was interrupted goes on from its last
checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from videogpt_jax import cli
from videogpt_jax.config import from_dict
from videogpt_jax.stages import run

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file in configs/; --config.SECTION.KEY=VALUE overrides a key.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, "Folder of the run; by default runs/ and the configuration's name."
)
_STAGES = flags.DEFINE_list('stages', list(run.STAGES), 'Which stages to run.')


def main(argv: Sequence[str]):
  del argv
  if _CONFIG.value is None:
    raise ValueError('--config is missing; for example --config=configs/demo.py')
  experiment = from_dict(_CONFIG.value)
  run.run(experiment, Path(_WORKDIR.value or Path('runs') / experiment.name), _STAGES.value)


if __name__ == '__main__':
  cli.start(main)
