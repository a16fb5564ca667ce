"""Whether the seams of tiles show: `python -m benchmarks.tiles --model=runs/demo --resolution=96`.

Larger frames than the tokenizer was trained on go through it in tiles, and whole. Where tiles meet,
reconstructions should be as good as elsewhere, and neighbouring pixels should differ no more than
in the real frames. Not in `make bench`, since a seam can only be judged on a trained model.
"""

import dataclasses

import numpy as np
from absl import flags
from etils.epath import Path

from videogpt_jax import cli

_MODEL = cli.define_model('A workdir with a trained tokenizer.')
_PATH = flags.DEFINE_string('path', '', "Data with larger frames, of the run's kind.")
_RESOLUTION = flags.DEFINE_list('resolution', '96', 'Side of the frames, or height and width.')
_NUM = flags.DEFINE_integer('num', 32, 'Clips.', lower_bound=1)
_OVERLAP = flags.DEFINE_integer('overlap', 0, 'Latent places shared; 0: a quarter of a tile.')


def main(argv):
  del argv
  from videogpt_jax import load_vqvae, workdir
  from videogpt_jax.input import pipeline

  tokenizer = load_vqvae(_MODEL.value)
  dataset = workdir.read_experiment(Path(_MODEL.value)).dataset
  sides = tuple(map(int, _RESOLUTION.value))
  resolution = sides if sides[1:] else sides[0]
  path = _PATH.value or dataset.path
  dataset = dataclasses.replace(dataset, resolution=resolution, path=path)
  real = np.asarray(pipeline.first_test_clips(dataset, _NUM.value)['video'], np.float32)
  overlap = _OVERLAP.value
  codes = tokenizer.encode_tiles(real, overlap)
  made = {
    'in tiles': tokenizer.decode_tiles(codes, overlap),
    'whole': np.concatenate([tokenizer.decode(tokenizer.encode(clip[None])) for clip in real]),
  }
  seams = _seams(tokenizer.tiles(codes.shape[2:4], overlap))
  print(f'{len(real)} clips of {resolution}, {seams.mean():.0%} of the pixels where tiles meet')
  for name, video in made.items():
    error = np.square(np.clip(video, -0.5, 0.5) - real).mean((0, 1, 4))
    parts = {'there': error[seams], 'elsewhere': error[~seams], 'all': error}
    found = ', '.join(f'{part} {-10 * np.log10(x.mean()):.2f} dB' for part, x in parts.items())
    print(f'  PSNR of reconstructions {name}: {found}')
  for name, video in {'real': real, **made}.items():
    down, right = (np.abs(np.diff(video, axis=axis)).mean((0, 1, 4)) for axis in (2, 3))
    ratios = [x[at].mean() / x[~at].mean() for x, at in ((down, seams[1:]), (right, seams[:, 1:]))]
    print(f'  neighbouring pixels, {name}: differ {np.mean(ratios):.3f} times as much there')


def _seams(tiles) -> np.ndarray:
  """Returns which pixels belong to more than one tile, bool [H W]."""
  mixed = []
  for axis in tiles:
    weight = np.zeros(axis.factor * axis.size)
    for at, weights in zip(axis.pixels, axis.weights, strict=True):
      weight[at] = np.maximum(weight[at], weights)
    mixed.append(weight < 1)
  return mixed[0][:, None] | mixed[1]


if __name__ == '__main__':
  cli.start(main)
