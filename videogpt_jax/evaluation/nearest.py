"""The training clips that are nearest to generated ones: whether a model copies.

Axis letters: N clips; M training clips; T H W frames, height, width.
"""

import pathlib

import jax
import numpy as np

from videogpt_jax import media
from videogpt_jax.evaluation import intervals
from videogpt_jax.evaluation.scoring import Estimate, Estimates

_SIDE = 16  # pixels; finer detail does not count
N_SHOWN = 8
_N_NEAREST = 3


def nearest(clips: np.ndarray, training: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """Finds the training clips with the smallest difference of pixels.

  Args:
    clips, training: uint8 [N T H W 3], [M T H W 3]; compared in grey, at 16x16.
    k: how many, at most M.
  Returns:
    their numbers int [N k], nearest first, and root mean square differences float [N k], of values
    in [0, 1].
  """
  a, b = _small(clips), _small(training)
  squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
  order = np.argsort(squares, axis=1)[:, :k]
  found = np.maximum(np.take_along_axis(squares, order, axis=1), 0)
  return order, np.sqrt(found / a.shape[1])


def copying_scores(samples: np.ndarray, real: np.ndarray, training: np.ndarray) -> Estimates:
  """Returns the mean difference from the nearest training clip, of samples and of held-out clips.

  Samples that are much nearer to training clips than held-out clips are hint at copies.
  """
  scores = {}
  for name, clips in (('samples', samples), ('held_out', real)):
    distance = nearest(clips, training, 1)[1][:, 0].astype(np.float64)
    ends = intervals.of_mean(distance)
    scores[f'nearest_training_{name}'] = Estimate(float(distance.mean()), None, ends)
  return scores


def write_picture(file: pathlib.Path, samples: np.ndarray, training: np.ndarray, fps: float):
  """Writes a GIF of eight samples, each above its three nearest training clips."""
  shown = samples[:N_SHOWN]
  order, _ = nearest(shown, training, min(_N_NEAREST, len(training)))
  columns = [
    np.concatenate([sample, *training[numbers]], axis=1)
    for sample, numbers in zip(shown, order, strict=True)
  ]
  media.write_gif(file, media.grid(media.enlarge(np.stack(columns)), columns=len(columns)), fps)


def _small(video: np.ndarray) -> np.ndarray:
  """Returns clips in grey at 16x16, float32 [N ...] in [0, 1]."""
  grey = video.mean(axis=-1, dtype=np.float32) / 255
  small = jax.image.resize(grey, (*grey.shape[:2], _SIDE, _SIDE), 'linear')
  return np.asarray(small).reshape(len(video), -1)
