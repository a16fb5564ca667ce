"""A data set to shards of codes: `python -m videogpt_jax.encode --config=C --vqvae=DIR --out=DIR`.

A prior trains on them, without the encoder's work, with --config.prior_codes=DIR.
"""

import sys
import time
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from videogpt_jax import cli

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Whose data set is encoded.')
_VQVAE = flags.DEFINE_string('vqvae', None, 'Trained VQ-VAE: a workdir or a published checkpoint.')
_OUT = flags.DEFINE_string('out', None, 'Directory of the shards, local or on a bucket.')
_CROPS = flags.DEFINE_integer(
  'crops', 1, 'How often a training clip is cut by chance and encoded.', lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Clips encoded at a time.', lower_bound=1)


def main(argv: Sequence[str]):
  del argv
  if not (_CONFIG.value and _VQVAE.value and _OUT.value):
    raise ValueError('--config, --vqvae and --out must all be given')
  from videogpt_jax import config, load_vqvae
  from videogpt_jax.input import code_shards

  experiment = config.from_dict(_CONFIG.value)
  tokenizer = load_vqvae(_VQVAE.value)
  begun = time.monotonic()

  def progress(n_done, n):
    seconds, end = time.monotonic() - begun, '\n' if n_done == n else ''
    print(f'\r{n_done}/{n} clips, {seconds:.0f} s', end=end, file=sys.stderr, flush=True)

  manifest = code_shards.write_codes(
    experiment.dataset,
    tokenizer.encode,
    _OUT.value,
    n_crops=_CROPS.value,
    n_cond_frames=experiment.prior.n_cond_frames,
    batch_size=_BATCH_SIZE.value,
    seed=experiment.seed,
    made_from={
      'vqvae': _VQVAE.value,
      'codebook_sha256': tokenizer.codebook_sha256,
      'n_codes': tokenizer.config.n_codes,
    },
    progress=progress,
  )
  for split, total in manifest.totals().items():
    print(f'{split}: {total["clips"]} clips, {total["frames"]} encoded crops')


if __name__ == '__main__':
  cli.start(main)
