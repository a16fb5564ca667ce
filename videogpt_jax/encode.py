"""Encodes a data set to shards of codes, so that a prior trains without running the encoder.

  python -m videogpt_jax.encode --config=configs/demo.py --model=runs/demo --out=runs/codes

Resumes where it was interrupted. Train on the codes with --config.prior_codes=runs/codes.
"""

import time
from collections.abc import Sequence

import jax.numpy as jnp
from absl import flags
from etils.epath import Path

from videogpt_jax import cli, pixels
from videogpt_jax.progress import ProgressLine

_CONFIG = cli.define_config('Configuration of the data set to encode.')
_MODEL = cli.define_model(
  'Trained VQ-VAE: a workdir, an exported or published checkpoint, or the name of one.',
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

  check_folder('--out', Path(_OUT.value))
  experiment = config.from_dict(_CONFIG.value)
  tokenizer = load_vqvae(_MODEL.value)
  from videogpt_jax.input import code_shards  # imports TensorFlow

  line, begun = ProgressLine(), time.monotonic()

  def encode(video):  # 8-bit video is converted on the device
    return tokenizer.encode(pixels.to_model_range(jnp.asarray(video)))

  def progress(n_done, n):
    seconds = time.monotonic() - begun
    line.show(f'{n_done}/{n} clips encoded, {seconds:.0f} s', important=n_done == n)

  manifest = code_shards.write_codes(
    experiment.dataset,
    encode,
    _OUT.value,
    n_crops=_CROPS.value,
    n_cond_frames=experiment.prior.n_cond_frames,
    time_grid=tokenizer.spec.time_grid,
    history=experiment.prior.history,
    batch_size=_BATCH_SIZE.value,
    seed=experiment.seed,
    made_from={
      'model': _MODEL.value,
      'tokenizer_sha256': tokenizer.digest,
      'n_codes': tokenizer.spec.n_codes,
    },
    progress=progress,
  )
  line.close()
  for split, total in manifest.totals().items():
    print(f'{split}: {total["clips"]} clips, {total["frames"]} encoded crops')


if __name__ == '__main__':
  cli.start(main)
