"""Quality against time of ways to decode.

  python -m benchmarks.decoding --models=runs/demo,runs/masked

Each model draws as many videos as there are real ones, under their conditions and with the
settings of its run: a prior of next codes one code a pass and by speculation, a prior of masked
codes in each number of `--passes`. FVD is against the same held-out clips for all. Times are of 8
videos together, measured in turns. Not in `make bench`, since quality is that of trained models.
"""

from absl import flags

from videogpt_jax import cli
from videogpt_jax.errors import UserError

_MODELS = flags.DEFINE_list('models', None, 'Workdirs with trained priors.')
_NUM = flags.DEFINE_integer('num', 128, 'Videos of each way.', lower_bound=2)
_PASSES = flags.DEFINE_list(
  'passes', ['4', '8', '12', '24', '48'], 'Passes of priors of masked codes.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Turns of timing.', lower_bound=1)


def main(argv):
  del argv
  from benchmarks.ways import rows

  if not _MODELS.value:
    raise UserError('--models is missing; for example --models=runs/demo,runs/masked')
  print('| decoding | seconds a video | passes | FVD | shows its class |')
  print('|---|---|---|---|---|')
  for row in rows(_MODELS.value, list(map(int, _PASSES.value)), _NUM.value, _ROUNDS.value):
    quality = ' | '.join(row.quality.get(name, '') for name in ('fvd', 'class_accuracy'))
    print(f'| {row.name} | {row.seconds:.3f} | {row.passes:.0f} | {quality} |', flush=True)


if __name__ == '__main__':
  cli.start(main)
