"""Whether class-conditional samples show their class, by a classifier of single moving digits.

Axis letters: N clips; T H W frames, height, width; P side of a centred digit.
"""

import importlib.util
from collections.abc import Mapping

import jax
import numpy as np

from videogpt_jax.evaluation import intervals
from videogpt_jax.evaluation.scoring import Estimate, Estimates
from videogpt_jax.input.config import DatasetConfig

_SIDE = 12  # P
_SHARE = 0.75  # of a frame's side, which holds a digit
_FRAME_STEP = 4  # of the training frames


def tells(dataset: DatasetConfig) -> bool:
  """Whether it knows the classes of a data set: single digits, with scikit-learn at hand."""
  single_digits = dataset.source == 'digits' and dataset.n_digits == 1
  return single_digits and importlib.util.find_spec('sklearn') is not None


def class_accuracy(
  training: tuple[np.ndarray, np.ndarray], sets: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Estimates:
  """Trains a support vector machine on frames of real clips and classifies other clips.

  A clip's class is that with the largest sum of decision values over its frames.

  Args:
    training: clips uint8 [N T H W 3] of a bright digit on black, and their classes int [N].
    sets: name -> clips, and the classes that they should show.
  Returns:
    name -> share of the clips that show their class.
  """
  from sklearn.svm import SVC  # of the extra 'fvd'

  video, labels = training
  frames = _centred(video[:, ::_FRAME_STEP])
  classifier = SVC(decision_function_shape='ovr')
  classifier.fit(frames.reshape(-1, frames.shape[-1]), np.repeat(labels, frames.shape[1]))
  scores = {}
  for name, (clips, wanted) in sets.items():
    frames = _centred(clips)
    values = classifier.decision_function(frames.reshape(-1, frames.shape[-1]))
    values = values.reshape(*frames.shape[:2], -1).sum(axis=1)
    right = (classifier.classes_[values.argmax(axis=1)] == wanted).astype(np.float64)
    scores[name] = Estimate(float(right.mean()), None, intervals.of_mean(right))
  return scores


def _centred(video: np.ndarray) -> np.ndarray:
  """Returns the digits of clips uint8 [N T H W 3], centred: float32 [N T P*P] in [0, 1]."""
  grey = video.mean(axis=-1, dtype=np.float32) / 255
  weights = grey + 1e-6  # black frames have their centre in the middle
  total = weights.sum(axis=(2, 3))
  for axis in (2, 3):
    size = grey.shape[axis]
    other = 5 - axis
    centre = (weights.sum(axis=other) @ np.arange(size)) / total
    shift = np.round(centre - (size - 1) / 2).astype(int)
    at = (np.arange(size) + shift[..., None]) % size  # [N T size]
    at = at[..., None] if axis == 2 else at[..., None, :]
    grey = np.take_along_axis(grey, at, axis=axis)
  H, W = grey.shape[2:]
  top, left = (round(side * (1 - _SHARE) / 2) for side in (H, W))
  crop = grey[:, :, top : H - top, left : W - left]
  small = jax.image.resize(crop, (*crop.shape[:2], _SIDE, _SIDE), 'linear')
  return np.asarray(small).reshape(*crop.shape[:2], -1)
