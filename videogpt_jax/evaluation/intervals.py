"""95 % intervals of scores, by bootstrap over clips.

An interval is for the mean score of the same protocol: what repetitions with other clips, as many
and of the same distributions, would average to. Drawing clips with replacement repeats some of
them, which raises distances between sets. Only the spread of the resampled scores is used, and not
where they lie: an interval is the score plus or minus 1.96 of their standard deviations.

N is the number of clips. Source: Efron and Tibshirani 1993, chapters 6 and 12.
"""

from collections.abc import Callable, Sequence

import numpy as np

Interval = tuple[float, float]

N_RESAMPLES = 100
"""Resamples of a distance between sets; the deviation is then known to 7 %."""

_N_RESAMPLES_OF_MEANS = 1000
_QUANTILES = (0.025, 0.975)
# Student's 97.5 % quantiles for 1 to 9 degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
_NORMAL = 1.96  # the normal distribution's 97.5 % quantile


def resample(n: int, rng: np.random.Generator) -> np.ndarray:
  """Returns how often each of n clips is drawn in n draws with replacement, int64 [n]."""
  return rng.multinomial(n, np.full(n, 1 / n))


def of_statistic(
  value: float,
  resampled: Callable[[Sequence[np.ndarray]], float],
  sizes: Sequence[int],
  seed: int = 0,
  n_resamples: int = N_RESAMPLES,
) -> Interval:
  """Returns the interval of a score of sets of clips.

  Args:
    value: the score.
    resampled: computes it from counts int64 [N] of the clips of each set. Where too few different
      clips were drawn it returns NaN, which does not count.
    sizes: N of each set. Sets are resampled independently.
    seed: of the resamples.
    n_resamples: their number.
  """
  rng = np.random.default_rng(seed)
  scores = [resampled([resample(n, rng) for n in sizes]) for _ in range(n_resamples)]
  reach = _NORMAL * np.nanstd(scores, ddof=1)
  return float(value - reach), float(value + reach)


def of_mean(values: np.ndarray, seed: int = 0) -> Interval:
  """Returns the interval of the mean of N clips' figures, float [N]."""
  return of_ratio(values, np.ones(len(values)), seed)


def of_ratio(values: np.ndarray, others: np.ndarray, seed: int = 0) -> Interval:
  """Returns the interval of the ratio of two sums over clips, float [N] each."""
  rng, n = np.random.default_rng(seed), len(values)
  ratios = []
  for _ in range(_N_RESAMPLES_OF_MEANS // 100):  # in parts, which bounds the memory
    counts = rng.multinomial(n, np.full(n, 1 / n), size=100)
    ratios.append(counts @ values / (counts @ others))
  low, high = np.quantile(ratios, _QUANTILES)
  return float(low), float(high)


def of_runs(values: Sequence[float]) -> Interval:
  """Returns the interval of the mean of 2 to 10 independent runs, by Student's t."""
  reach = _STUDENT[len(values) - 2] * np.std(values, ddof=1) / np.sqrt(len(values))
  return float(np.mean(values) - reach), float(np.mean(values) + reach)


def overlap(a: Interval, b: Interval) -> bool:
  """Returns whether two intervals have a point in common."""
  return a[0] <= b[1] and b[0] <= a[1]
