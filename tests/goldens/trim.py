"""Copies golden files, less what other files repeat, so that the repository stays small.

python tests/goldens/trim.py ../shared/goldens
"""

import pathlib
import shutil
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
WHOLE = (
  'vqvae_ds422.npz',
  'gpt_uncond.npz',
  'gpt_class.npz',
  'gpt_frame.npz',
  'gpt_class_frame.npz',
  'sparse_layouts.npz',
  'vqvae.ckpt',
  'gpt_uncond.ckpt',
)
KEPT = {
  'vqvae_ds444.npz': (
    'config',
    'in/',
    'eval/z',
    'eval/encodings',
    'eval/recon',
    'eval/c',
    'eval/p',
  ),
  'vqvae_ds422_wide.npz': ('config', 'param/'),
  'gpt_sparse.npz': ('config', 'param/', 'in/encodings', 'decode/', 'greedy/'),
}
"""Beginnings of the names of the arrays that are kept."""


def main(source: pathlib.Path):
  for name in WHOLE:
    shutil.copyfile(source / name, HERE / name)
  for name, beginnings in KEPT.items():
    with np.load(source / name) as arrays:
      kept = {key: arrays[key] for key in arrays if key.startswith(beginnings)}
    np.savez_compressed(HERE / name, **kept)


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
