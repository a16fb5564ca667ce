"""Plans a run on a TPU slice without a TPU: compiles its programs and prints what they need.

  python -m videogpt_jax.plan --config=configs/bair.py --topology=v5e:2x4
  python -m videogpt_jax.plan --config=configs/scale/prior_7b.py --topology=v5p:4x4x8 --stages=prior
  ... --search                            tries meshes and batch sizes, and ranks those that fit
  ... --topology=v5p:2x2x2,v5p:4x4x4      compares slices; --batch_per_chip=1 scales the batch

--config.mesh.fsdp=4 and the like choose the mesh. All figures are estimates of compiled programs.
"""

from collections.abc import Sequence

from absl import flags

from videogpt_jax import cli
from videogpt_jax.errors import UserError

_CONFIG = cli.define_config(example='configs/bair.py')
_TOPOLOGY = cli.required(
  flags.DEFINE_list('topology', [], 'Slices: a chip and its grid, for example v5e:4x8.'), 'v5e:2x4'
)
_STAGES = flags.DEFINE_list('stages', ['vqvae', 'prior', 'sample'], 'Programs to plan.')
_SEARCH = flags.DEFINE_bool('search', False, 'Tries meshes and batch sizes of the training steps.')
_BATCH_SIZES = flags.DEFINE_list(
  'batch_sizes', [], "Batch sizes for --search; by default the configuration's and twice that."
)
_COMPILE = flags.DEFINE_integer(
  'compile', 6, 'Number of candidates that --search compiles.', lower_bound=1
)
_BATCH_PER_CHIP = flags.DEFINE_float(
  'batch_per_chip', None, 'Clips a chip, instead of a batch size, to see weak scaling.'
)
_LARGEST_BATCH = flags.DEFINE_bool(
  'largest_batch',
  True,
  'Looks for the largest batch that fits: one to four more compilations a program.',
)

flags.register_validator(
  'batch_sizes',
  lambda sizes: all(size.isdecimal() and int(size) for size in sizes),
  'takes numbers of clips above 0: --batch_sizes=32,64',
)
flags.register_validator(
  'batch_per_chip', lambda clips: clips is None or clips > 0, 'takes a number of clips above 0'
)


def main(argv: Sequence[str]):
  del argv
  import jax

  from videogpt_jax.config import from_dict
  from videogpt_jax.planning import plans
  from videogpt_jax.planning.programs import STAGES

  for stage in _STAGES.value or ['']:
    if stage not in STAGES:
      raise UserError(f'unknown stage {stage!r}; stages are {", ".join(STAGES)}')
  jax.config.update('jax_platforms', 'cpu')  # which only traces; it must not look for a TPU
  request = from_dict(_CONFIG.value), _TOPOLOGY.value, _STAGES.value
  if _SEARCH.value:
    texts = plans.search(*request, [int(size) for size in _BATCH_SIZES.value], _COMPILE.value)
  else:
    texts = plans.plan(*request, _BATCH_PER_CHIP.value, _LARGEST_BATCH.value)
  for text in texts:
    print(text, flush=True)


if __name__ == '__main__':
  cli.start(main)
