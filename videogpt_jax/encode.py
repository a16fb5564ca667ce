"""Encodes a data set to shards of codes, so that a prior trains without running the encoder.

  python -m videogpt_jax.encode --config=configs/demo.py --model=runs/demo --out=runs/codes

Resumes where it was interrupted. Train on the codes with --config.prior_codes=runs/codes.
"""

from collections.abc import Sequence

from absl import flags
from etils.epath import Path

from videogpt_jax import cli

_CONFIG = cli.define_config('Configuration of the data set to encode.')
_MODEL = cli.define_model(
  'Trained VQ-VAE: a workdir, an exported or published checkpoint, or the name of one.',
  example='digits',
  aliases=('workdir', 'vqvae'),
)
_OUT = cli.required(
  flags.DEFINE_string('out', None, 'Directory of the shards, local or in a bucket.'), 'runs/codes'
)
_CROPS = flags.DEFINE_integer(
  'crops', 1, 'Number of random crops of each training clip to encode.', lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Clips to encode at a time.', lower_bound=1)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax import config, load_vqvae
  from videogpt_jax.files import check_folder
  from videogpt_jax.stages import encoded

  check_folder('--out', Path(_OUT.value))
  experiment = config.from_dict(_CONFIG.value)
  totals = encoded.encode(
    experiment,
    load_vqvae(_MODEL.value),
    *(_MODEL.value, _OUT.value),
    n_crops=_CROPS.value,
    batch_size=_BATCH_SIZE.value,
  )
  for split, total in totals.items():
    print(f'{split}: {total["clips"]} clips, {total["frames"]} encoded crops')


if __name__ == '__main__':
  cli.start(main)
