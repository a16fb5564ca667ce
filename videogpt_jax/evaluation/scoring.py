"""Scores of sets of clips: what a protocol asks for, from what networks there are.

Clips are read once each, in batches, and forgotten; of their features only the trials' statistics
stay (and, for KVD, the features of a trial's first 1,000 clips).
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.evaluation import image_quality
from videogpt_jax.evaluation.clips import Clips
from videogpt_jax.evaluation.extract import Extractor
from videogpt_jax.evaluation.frechet import FeatureStatistics, frechet_distance
from videogpt_jax.evaluation.inception_score import ClassStatistics, inception_score
from videogpt_jax.evaluation.kernel_distance import kernel_distance
from videogpt_jax.evaluation.networks import Networks

_KERNEL_CLIPS = 1000  # Binkowski et al. 2018 estimate from subsets of 1,000; memory is quadratic


@dataclasses.dataclass
class TrialStatistics:
  """What one trial keeps of one set of clips.

  Attributes:
    features: of I3D.
    kept: float32 [n 400] each, the features that KVD compares pairwise.
    classes: of C3D.
  """

  features: FeatureStatistics = dataclasses.field(default_factory=FeatureStatistics)
  kept: list[np.ndarray] = dataclasses.field(default_factory=list)
  classes: ClassStatistics = dataclasses.field(default_factory=ClassStatistics)

  def add(self, features: np.ndarray) -> None:
    """Takes in I3D features, float [n 400]."""
    room = _KERNEL_CLIPS - sum(map(len, self.kept))
    self.kept.append(features[: max(room, 0)])
    self.features.add(features)


def set_statistics(
  clips: Clips, trials: np.ndarray, networks: Networks, batch_size: int = 16
) -> list[TrialStatistics]:
  """Runs the networks over the clips of all trials, each clip once; without any it looks at them.

  Args:
    clips: the set.
    trials: int [n_trials n_clips], as protocols.draw gives them.
    networks: what to score with; LPIPS takes no part.
    batch_size: clips at a time.
  Returns:
    statistics of each trial.
  Raises:
    ValueError: a clip cannot be read or scored.
  """
  statistics = [TrialStatistics() for _ in trials]
  members = np.zeros((len(trials), len(clips)), bool)
  for row, trial in zip(members, trials, strict=True):
    row[trial] = True
  for batch in _batches(np.flatnonzero(members.any(axis=0)), batch_size):
    video = clips.read(batch)
    features = None if networks.i3d is None else networks.i3d(video)
    logits = None if networks.c3d is None else networks.c3d(video)
    for trial, row in zip(statistics, members, strict=True):
      if features is not None:
        trial.add(features[row[batch]])
      if logits is not None:
        trial.classes.add(logits[row[batch]])
  return statistics


def distances(
  a: Sequence[TrialStatistics], b: Sequence[TrialStatistics], name: str = '{}'
) -> dict[str, float]:
  """Distances between two sets, trial by trial: `fvd` and `kvd`, {} without I3D.

  Args:
    a, b: of the same trials.
    name: what they are called, the braces standing for `fvd` or `kvd`.
  """
  pairs = list(zip(a, b, strict=True))
  if not pairs[0][0].features.count:
    return {}
  fvd = [frechet_distance(x.features, y.features) for x, y in pairs]
  kvd = [kernel_distance(np.concatenate(x.kept), np.concatenate(y.kept)) for x, y in pairs]
  return _summary(name.format('fvd'), fvd) | _summary(name.format('kvd'), kvd)


def inception_scores(trials: Sequence[TrialStatistics]) -> dict[str, float]:
  """`inception_score` of a set, {} without C3D."""
  if not trials[0].classes.count:
    return {}
  return _summary('inception_score', [inception_score(trial.classes) for trial in trials])


def paired_scores(
  clips: Clips,
  references: Clips,
  networks: Networks,
  batch_size: int = 16,
  devices: Sequence[jax.Device] | None = None,
) -> dict[str, float]:
  """Compares clip i of one set with clip i of the other, frame by frame.

  Args:
    clips, references: equally many clips of one size.
    networks: LPIPS is left out where there are no weights for it.
    batch_size: clips at a time.
    devices: this host's by default.
  Returns:
    means over all frames: `psnr` (dB), `ssim` (7x7 windows), `lpips`; and `nmse`, the squared error
    over the variance of all the reference's pixels.
  Raises:
    ValueError: the two sets differ in number or size.
  """
  if len(clips) != len(references):
    raise ValueError(
      f'paired scores need as many samples ({len(clips)}) as references ({len(references)}); give '
      'sets that belong together, or leave --paired out'
    )
  compare, frames = Extractor(_frame_scores, None, devices), []
  sums = np.zeros(4)  # pixels, squared errors, the reference's values and squared values
  for batch in _batches(np.arange(len(clips)), batch_size):
    video, reference = clips.read(batch), references.read(batch)
    check_sizes(video, reference)
    scores = [compare(video, reference)]
    if networks.lpips is not None:
      scores.append(networks.lpips(video, reference)[..., None])
    frames.append(np.concatenate(scores, axis=-1).astype(np.float64))
    x, y = video.astype(np.float64), reference.astype(np.float64)
    sums += y.size, np.sum((x - y) ** 2), y.sum(), np.sum(y**2)
  n, squared_error, total, squares = sums
  means = np.concatenate(frames).mean(axis=(0, 1))
  names = ('psnr', 'ssim', 'lpips')[: len(means)]
  variance = squares / n - (total / n) ** 2
  nmse = squared_error / n / variance if variance else float('nan')
  return {name: float(x) for name, x in zip(names, means, strict=True)} | {'nmse': float(nmse)}


def check_sizes(a: np.ndarray, b: np.ndarray) -> None:
  """Refuses clips of different frame counts or sizes (ValueError)."""
  if a.shape[1:] != b.shape[1:]:
    raise ValueError(
      f'the sets have clips of {a.shape[1:]} and {b.shape[1:]}, which must be the same size '
      '[T H W C]; set --n_frames and --resolution'
    )


def _frame_scores(video: jax.Array, reference: jax.Array) -> jax.Array:
  # Of whole numbers, so that equal frames differ by 0 however it is compiled.
  scores = (measure(video, reference, 255) for measure in (image_quality.psnr, image_quality.ssim))
  return jnp.stack(list(scores), axis=-1)


def _batches(indices: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
  for start in range(0, len(indices), batch_size):
    yield indices[start : start + batch_size]


def _summary(name: str, values: Sequence[float]) -> dict[str, float]:
  """The mean over trials and, where there are several, their standard deviation."""
  scores = {name: float(np.mean(values))}
  if len(values) > 1:
    scores[f'{name}_std'] = float(np.std(values))
  return scores
