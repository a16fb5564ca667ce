"""Turns a published PyTorch checkpoint into a workdir, as if it had been trained there.

  python -m videogpt_jax.import_torch --model=FILE.ckpt --workdir=DIR

A .pth.tar is VideoGPT-Paper's; a prior's needs the file of its VQ-VAE, as named or beside it.

With --config=configs/X.py the workdir belongs to that experiment: `main` with the same
configuration continues from what was imported, for example trains a prior on a published VQ-VAE.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from videogpt_jax import cli

_MODEL = cli.define_model(
  'A published .ckpt, .pth.tar or .safetensors, an export, or the name of a published model.',
  example='FILE.ckpt',
  aliases=('checkpoint',),
)
_WORKDIR = cli.required(
  flags.DEFINE_string('workdir', None, 'Folder to make; it must be empty or new.'), 'runs/imported'
)
_CONFIG = cli.define_config(
  'Experiment that the workdir is to belong to; by default what the file states.', example=None
)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax import config, exchange
  from videogpt_jax.errors import UserError
  from videogpt_jax.loading import find_model

  if (file := find_model(_MODEL.value)).is_dir():
    raise UserError(f'{_MODEL.value} is a workdir already; give a published checkpoint to import')
  name = Path(_MODEL.value).stem.removesuffix('.pth')
  found = exchange.read(file)
  if _CONFIG.value is None:
    experiment = exchange.stated_experiment(found, name)
  else:
    experiment = config.from_dict(_CONFIG.value)
  exchange.import_to_workdir(Path(_WORKDIR.value), found, experiment)
  kind = 'VQ-VAE' if found.prior is None else 'prior and VQ-VAE'
  grid = 'x'.join(map(str, found.codes.latent_shape))
  print(f'{name}: {kind}, {grid} codes, imported to {_WORKDIR.value}')


if __name__ == '__main__':
  cli.start(main)
