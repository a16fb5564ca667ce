"""Figures of frames that a model goes on with, by how far ahead they are.

Axis letters: N clips; T H W frames, height, width.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.evaluation import image_quality, intervals
from videogpt_jax.evaluation.scoring import Estimate, Estimates

HORIZONS = (1, 2, 4, 8, 16, 32, 64)
"""Frames ahead that are reported, as far as there are so many."""


def scores(
  made: Mapping[str, np.ndarray], real: np.ndarray, groups: Mapping[str, np.ndarray]
) -> Estimates:
  """Compares frames that were made with the real ones, at each of `HORIZONS`.

  Args:
    made: uint8 [N T H W 3] by name: the model's frames as '', and those of baselines.
    real: uint8 [N T H W 3].
    groups: bool [N] by name, clips whose figures are told apart, too.
  Returns:
    'psnr_at_8', 'psnr_at_8_NAME', and for a group 'psnr_at_8_GROUP', likewise 'ssim_at_8': means
    over clips with intervals; 'psnr_gain_at_8_NAME', and of groups: the mean of the differences
    between the model's figures and the baseline's, clip by clip.
  """
  at = [h for h in HORIZONS if h <= real.shape[1]]
  figures = {name: _figures(video, real, at) for name, video in made.items()}
  everything = {'': np.ones(len(real), bool)} | dict(groups)
  found = {}
  for group, members in everything.items():
    for name, of in figures.items():
      for measure, values in of.items():
        for i, h in enumerate(at):
          key = _key(f'{measure}_at_{h}', name, group)
          found[key] = _mean(values[members, i])
          if name and measure == 'psnr':
            gain = figures[''][measure][members, i] - values[members, i]
            found[_key(f'psnr_gain_at_{h}', name, group)] = _mean(gain)
  return found


def _key(*parts: str) -> str:
  return '_'.join(part for part in parts if part)


def _mean(values: np.ndarray) -> Estimate:
  return Estimate(float(values.mean()), None, intervals.of_mean(values))


def _figures(video: np.ndarray, real: np.ndarray, at: Sequence[int]) -> dict[str, np.ndarray]:
  """Returns PSNR (dB) and SSIM [N len(at)]."""
  frames = np.asarray(at) - 1
  rows = [np.asarray(_compare(x[frames], y[frames])) for x, y in zip(video, real, strict=True)]
  psnr, ssim = np.moveaxis(np.asarray(rows, np.float64), 1, 0)
  return {'psnr': psnr, 'ssim': ssim}


@jax.jit
def _compare(video: jax.Array, reference: jax.Array) -> jax.Array:
  measures = (image_quality.psnr, image_quality.ssim)
  return jnp.stack([measure(video, reference, 255) for measure in measures])
