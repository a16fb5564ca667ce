"""Scores of sets of clips, with their deviation over trials and their 95 % intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import image_quality, intervals
from videogpt_jax.evaluation.clip_sets import Clips
from videogpt_jax.evaluation.extract import Extractor
from videogpt_jax.evaluation.features import Features
from videogpt_jax.evaluation.frechet import frechet_distance, gaussian
from videogpt_jax.evaluation.inception_score import inception_score
from videogpt_jax.evaluation.kernel_distance import N_CLIPS, KernelDistance
from videogpt_jax.evaluation.protocols import spread


class Estimate(NamedTuple):
  """A score.

  Attributes:
    value: mean over trials.
    deviation: standard deviation over trials, if there are several.
    interval: 95 %, see intervals.py.
  """

  value: float
  deviation: float | None = None
  interval: intervals.Interval | None = None


Estimates = dict[str, Estimate]


class Trials:
  """Features of a set's clips, and which of them each trial has.

  Args:
    features: of the set.
    clips: int [n_trials n], from protocols.draw.
  """

  def __init__(self, features: Features, clips: np.ndarray):
    used, members = np.unique(features.places(clips), return_inverse=True)
    self.values = features.values[used]  # [N D]
    self.members = members.reshape(clips.shape)  # places in `values`

  def __len__(self) -> int:
    return len(self.values)

  def __iter__(self):
    """Yields the features of each trial, float32 [n D]."""
    return (self.values[trial] for trial in self.members)


def fvd(a: Trials, b: Trials, paired: bool = False) -> Estimate:
  """Returns the Fréchet distance of two sets of the same trials.

  Args:
    a, b: features of the sets.
    paired: whether clips of `a`, as many for each, belong to those of `b`: they are then resampled
      together.
  """
  of_trial = lambda x, y: lambda v, w: frechet_distance(gaussian(x, v), gaussian(y, w))
  return _distance(of_trial, a, b, paired)


def kvd(a: Trials, b: Trials, paired: bool = False) -> Estimate:
  """Returns the kernel distance of two sets, of at most `N_CLIPS` clips a trial; see `fvd`."""

  def of_trial(x: np.ndarray, y: np.ndarray) -> Callable[..., float]:
    i, j = (spread(len(features), N_CLIPS) for features in (x, y))
    distance = KernelDistance(x[i], y[j])
    return lambda v, w: distance() if v is None else distance(v[i], w[j])

  return _distance(of_trial, a, b, paired)


def _distance(make: Callable, a: Trials, b: Trials, paired: bool) -> Estimate:
  trials = [make(x, y) for x, y in zip(a, b, strict=True)]
  members = list(zip(a.members, b.members, strict=True))
  owners = np.zeros(len(a), int)  # place in `b` of the clip that each of `a` belongs to
  if paired:
    owners[a.members] = np.repeat(b.members, a.members.shape[1] // b.members.shape[1], axis=1)

  def resampled(counts: Sequence[np.ndarray]) -> float:
    v, w = counts[-1][owners] if paired else counts[0], counts[-1]
    scores = [
      f(v[i], w[j]) if _several(v[i]) and _several(w[j]) else np.nan
      for f, (i, j) in zip(trials, members, strict=True)
    ]
    return float(np.mean(scores))

  values = [f(None, None) for f in trials]
  return over_trials(values, resampled, (len(b),) if paired else (len(a), len(b)))


def _several(counts: np.ndarray) -> bool:
  """Returns whether at least two different clips were drawn."""
  return np.count_nonzero(counts) > 1


def over_trials(
  values: Sequence[float], resampled: Callable[[Sequence[np.ndarray]], float], sizes: Sequence[int]
) -> Estimate:
  """Returns the mean of the trials' scores with its deviation and interval."""
  value = float(np.mean(values))
  deviation = float(np.std(values)) if len(values) > 1 else None
  return Estimate(value, deviation, intervals.of_statistic(value, resampled, sizes))


def inception_scores(trials: Trials) -> Estimate:
  """Returns the Inception Score of a set, whose features are logits."""

  def resampled(counts: Sequence[np.ndarray]) -> float:
    scores = [
      inception_score(logits, counts[0][i]) if _several(counts[0][i]) else np.nan
      for logits, i in zip(trials, trials.members, strict=True)
    ]
    return float(np.mean(scores))

  return over_trials([inception_score(logits) for logits in trials], resampled, (len(trials),))


class FrameScores(NamedTuple):
  """Figures of pairs of clips: means over frames, [N] each.

  Attributes:
    figures: `psnr` (dB), `ssim` (7x7 windows) and, with its network, `lpips`.
    squared_error, variance: of the pixels; their ratio of means over clips is NMSE.
    gradient, real_gradient: mean absolute differences of neighbouring pixels; their ratio of means
      over clips is `sharpness`.
  """

  figures: Mapping[str, np.ndarray]
  squared_error: np.ndarray
  variance: np.ndarray
  gradient: np.ndarray
  real_gradient: np.ndarray

  def estimates(self) -> Estimates:
    """Returns the means over clips, `nmse` and `sharpness`."""
    means = {
      name: Estimate(float(x.mean()), None, intervals.of_mean(x))
      for name, x in self.figures.items()
    }
    return means | {
      'nmse': _ratio(self.squared_error, self.variance),
      'sharpness': _ratio(self.gradient, self.real_gradient),
    }


def _ratio(x: np.ndarray, y: np.ndarray) -> Estimate:
  """Returns the ratio of means over clips, NaN where y is 0 everywhere."""
  if not y.any():
    return Estimate(float('nan'))
  return Estimate(float(x.mean() / y.mean()), None, intervals.of_ratio(x, y))


def frame_scores(
  clips: Clips,
  references: Clips,
  lpips: Extractor | None = None,
  *,
  pairs: Sequence[np.ndarray] | None = None,
  first_frame: int = 0,
  batch_size: int = 16,
  devices: Sequence[jax.Device] | None = None,
) -> FrameScores:
  """Compares clips of one set with clips of the other, frame by frame.

  Args:
    clips, references: of the same size.
    lpips: its network, or None.
    pairs: int [N] each, clips and the references that they are compared with; by default clip i
      with reference i, of sets of the same number.
    first_frame: leaves out earlier frames, such as given ones.
    batch_size: pairs at a time.
    devices: this host's by default.
  Raises:
    UserError: the two sets differ in number or size.
  """
  if pairs is None:
    if len(clips) != len(references):
      raise UserError(
        f'paired scores need as many samples ({len(clips)}) as references ({len(references)}); '
        'give matching sets, or omit --paired'
      )
    pairs = (np.arange(len(clips)),) * 2
  compare, rows = Extractor(_frame_scores, None, devices), []
  for start in range(0, len(pairs[0]), batch_size):
    batch = [x[start : start + batch_size] for x in pairs]
    video, reference = clips.read(batch[0]), references.read(batch[1])
    check_sizes(video.shape[1:], reference.shape[1:])
    video, reference = video[:, first_frame:], reference[:, first_frame:]
    scores = [compare(video, reference)]
    if lpips is not None:
      scores.append(lpips(video, reference)[..., None])
    scores = np.concatenate(scores, axis=-1).astype(np.float64).mean(axis=1)
    x, y = video.astype(np.float64), reference.astype(np.float64)
    moments = [values.mean(axis=(1, 2, 3, 4)) for values in ((x - y) ** 2, y, y**2)]
    moments += [_gradient(x), _gradient(y)]
    rows.append(np.concatenate([scores, np.stack(moments, axis=1)], axis=1))
  *figures, error, mean, square, gradient, real_gradient = np.concatenate(rows).T
  variance = square - 2 * mean.mean() * mean + mean.mean() ** 2  # about the mean of all pixels
  figures = dict(zip(('psnr', 'ssim', 'lpips'), figures, strict=False))
  return FrameScores(figures, error, variance, gradient, real_gradient)


def _gradient(video: np.ndarray) -> np.ndarray:
  """Returns the mean absolute difference of neighbouring pixels of clips [N T H W C]: [N]."""
  axes = [np.abs(np.diff(video, axis=axis)).mean(axis=(1, 2, 3, 4)) for axis in (2, 3)]
  return (axes[0] + axes[1]) / 2


def best_of(scores: FrameScores, n: int) -> Estimates:
  """Returns the mean over real clips of their best sample's figures.

  Args:
    scores: of n samples for each real clip, one clip after the other.
    n: samples of a clip.
  """
  best = {'psnr': np.max, 'ssim': np.max, 'lpips': np.min}
  rows = {name: best[name](x.reshape(-1, n), axis=1) for name, x in scores.figures.items()}
  return {
    f'best_{name}': Estimate(float(x.mean()), None, intervals.of_mean(x))
    for name, x in rows.items()
  }


def check_sizes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
  """Refuses clips of different frame counts or sizes [T H W C] (UserError)."""
  if tuple(a) != tuple(b):
    raise UserError(
      f'the sets have clips of {a} and {b}, which must be the same size [T H W C]; set --n_frames '
      'and --resolution'
    )


def _frame_scores(video: jax.Array, reference: jax.Array) -> jax.Array:
  # On integer values, so that equal frames differ by exactly 0 in every compiled form.
  measures = (image_quality.psnr, image_quality.ssim)
  return jnp.stack([measure(video, reference, 255) for measure in measures], axis=-1)
