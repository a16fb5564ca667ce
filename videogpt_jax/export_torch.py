"""Writes a trained model as checkpoints that the published code loads.

python -m videogpt_jax.export_torch --model=DIR --out=DIR2
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from videogpt_jax import cli

_MODEL = cli.define_model(example='runs/demo_published')
_OUT = cli.required(
  flags.DEFINE_string('out', None, 'Folder for vqvae and gpt, each as .ckpt and .safetensors.'),
  'exported',
)
_VQVAE_PATH = flags.DEFINE_string(
  'vqvae_path', None, 'Where the published code will find the VQ-VAE; in --out by default.'
)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax import exchange
  from videogpt_jax.files import check_folder

  check_folder('--out', out := Path(_OUT.value))
  for file in exchange.export_model(_MODEL.value, out, _VQVAE_PATH.value):
    print(f'wrote {file}')


if __name__ == '__main__':
  cli.start(main)
