"""Turns a published PyTorch checkpoint into a workdir, as if it had been trained there.

  python -m videogpt_jax.import_torch --checkpoint=FILE.ckpt --workdir=DIR

With --config=configs/X.py the workdir is that experiment's: `main` with the same configuration goes
on from what was imported, for example trains a prior on a published VQ-VAE.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from videogpt_jax import cli

_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', None, 'A published .ckpt or .safetensors, or the name of a published model.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder to make; it must be empty or new.')
_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Experiment that the workdir shall belong to; by default what the file states.'
)


def main(argv: Sequence[str]):
  from videogpt_jax import config, exchange
  from videogpt_jax.interop import published

  for flag in (_CHECKPOINT, _WORKDIR):
    if not flag.value:
      raise ValueError(f'--{flag.name} is missing')
  name = Path(_CHECKPOINT.value).stem
  found = published.load(_CHECKPOINT.value)
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
