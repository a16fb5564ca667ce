"""Writes a workdir's trained models as checkpoints that the published code loads.

python -m videogpt_jax.export_torch --workdir=DIR --out=DIR2
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from videogpt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_OUT = flags.DEFINE_string('out', None, 'Folder for vqvae and gpt, .ckpt and .safetensors.')
_VQVAE_PATH = flags.DEFINE_string(
  'vqvae_path', None, "Where the published code will find the VQ-VAE's file; by default in --out."
)


def main(argv: Sequence[str]):
  from videogpt_jax import exchange

  for flag in (_WORKDIR, _OUT):
    if not flag.value:
      raise ValueError(f'--{flag.name} is missing')
  for file in exchange.export_workdir(Path(_WORKDIR.value), Path(_OUT.value), _VQVAE_PATH.value):
    print(f'wrote {file}')


if __name__ == '__main__':
  cli.start(main)
