"""Plans a run on a TPU slice without a TPU: compiles its programs and says what they would take.

  python -m videogpt_jax.plan --config=configs/bair.py --topology=v5e:2x4
  python -m videogpt_jax.plan --config=configs/scale/prior_7b.py --topology=v5p:4x4x8 --stages=prior
  ... --search                            tries meshes and batch sizes, and ranks those that fit
  ... --topology=v5p:2x2x2,v5p:4x4x4      compares slices; --batch_per_chip=1 scales the batch

--config.mesh.fsdp=4 and so on choose the mesh. All figures are estimates from compiled programs.
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from videogpt_jax import cli

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file in configs/; --config.SECTION.KEY=VALUE overrides a key.'
)
_TOPOLOGY = flags.DEFINE_list('topology', [], 'Slices: a chip and its grid, for example v5e:4x8.')
_STAGES = flags.DEFINE_list('stages', ['vqvae', 'prior', 'sample'], 'Which programs to plan.')
_SEARCH = flags.DEFINE_bool('search', False, 'Tries meshes and batch sizes of the train steps.')
_BATCH_SIZES = flags.DEFINE_list(
  'batch_sizes', [], "What --search tries; by default the configuration's and twice as many."
)
_COMPILE = flags.DEFINE_integer(
  'compile', 6, 'How many candidates --search compiles.', lower_bound=1
)
_BATCH_PER_CHIP = flags.DEFINE_float(
  'batch_per_chip', None, 'Clips a chip, instead of a batch size, to see weak scaling.'
)
_LARGEST_BATCH = flags.DEFINE_bool(
  'largest_batch', True, 'Looks for the largest batch that fits: two more compilations a program.'
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
  if _CONFIG.value is None or not _TOPOLOGY.value:
    raise ValueError(
      '--config and --topology must be given; for example --config=configs/bair.py '
      '--topology=v5e:2x4'
    )
  import jax

  from videogpt_jax.config import from_dict
  from videogpt_jax.planning import plans

  jax.config.update('jax_platforms', 'cpu')  # which only traces; it must not look for a TPU
  request = plans.Request(
    from_dict(_CONFIG.value),
    tuple(_TOPOLOGY.value),
    tuple(_STAGES.value),
    batch_per_chip=_BATCH_PER_CHIP.value,
    batch_sizes=tuple(int(size) for size in _BATCH_SIZES.value),
    n_compile=_COMPILE.value,
    with_largest_batch=_LARGEST_BATCH.value,
  )
  for text in plans.search(request) if _SEARCH.value else plans.plan(request):
    print(text, flush=True)


if __name__ == '__main__':
  cli.start(main)
