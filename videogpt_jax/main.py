"""Trains, samples and evaluates: flags in, stages run.

  python -m videogpt_jax.main --config=configs/demo.py [--workdir=DIR] [--stages=vqvae,prior]

A stage that has finished is not run again; one that was interrupted goes on from its last
checkpoint. After a SIGTERM, the notice that a machine is taken away, the run saves, ends with
status 75, and the same command goes on from there. With several hosts, start the same command on
each of them; `videogpt_jax.training.distributed` says how they find each other.
"""

from collections.abc import Sequence

from absl import flags
from etils.epath import Path
from ml_collections import config_flags

from videogpt_jax import cli
from videogpt_jax.config import from_dict
from videogpt_jax.stages import run
from videogpt_jax.training import distributed

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
  distributed.start()
  run.run(experiment, Path(_WORKDIR.value or Path('runs') / experiment.name), _STAGES.value)


if __name__ == '__main__':
  cli.start(main)
