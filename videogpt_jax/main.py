"""Trains, samples and evaluates: flags in, stages run.

  python -m videogpt_jax.main --config=configs/demo.py [--workdir=DIR] [--stages=vqvae,prior]

A finished stage is not run again; an interrupted one resumes from its last checkpoint. On SIGTERM,
the notice that a machine is about to be taken away, the run saves and ends with status 75, on
SIGINT with 130, and the same command resumes it. A second signal ends it at once. With several
hosts, start the same command on each of them; `videogpt_jax.training.distributed` says how they
find each other.

JAX_COMPILATION_CACHE_DIR=DIR keeps compiled programs from one start to the next. DIR may be a
bucket, which all hosts can share.
"""

from collections.abc import Sequence

import jax
from absl import flags
from etils.epath import Path

from videogpt_jax import cli, machine
from videogpt_jax.config import from_dict
from videogpt_jax.stages import run
from videogpt_jax.training import distributed
from videogpt_jax.training.profiling import ProfileSteps

_CONFIG = cli.define_config()
_WORKDIR = flags.DEFINE_string(
  'workdir', None, "Folder of the run; runs/NAME by default, NAME being the configuration's."
)
_DEBUG_NANS = flags.DEFINE_bool(
  'debug_nans', False, 'End at the first NaN with a traceback that shows the operation; slow.'
)
_PROFILE_STEPS = flags.DEFINE_string(
  'profile_steps',
  None,
  'Trace these steps of each stage that is trained, such as 10-12, in WORKDIR/tensorboard/STAGE.',
)
_STAGES = flags.DEFINE_list('stages', list(run.STAGES), 'Stages to run.')


def main(argv: Sequence[str]):
  del argv
  jax.config.update('jax_debug_nans', _DEBUG_NANS.value)
  experiment = from_dict(_CONFIG.value)
  if experiment.deterministic:
    machine.compute_deterministically()
  distributed.start()
  cli.announce_devices()
  path = Path(_WORKDIR.value or Path('runs') / experiment.name)
  traced = _PROFILE_STEPS.value
  run.run(experiment, path, _STAGES.value, traced and ProfileSteps.parse(traced))


if __name__ == '__main__':
  machine.use_huge_pages()
  cli.start(main, processes='many')
