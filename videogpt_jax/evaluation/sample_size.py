"""How a Fréchet distance depends on the number of clips: its floor, its curve, its limit.

A Fréchet distance of finite sets is too high, by an amount that falls about as 1 / N.
"""

from typing import NamedTuple

import numpy as np

from videogpt_jax.evaluation.frechet import frechet_distance, gaussian

_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the clips of both sets
_N_SUBSETS = 15  # of each size, to average over: fewer would add their own noise to the limit
_N_SPLITS = 10


class Curve(NamedTuple):
  """Fréchet distance against the number of clips.

  Attributes:
    n_clips: of the first set; the second shrinks by the same factor.
    distance: mean over subsets of that many clips.
    limit: of infinitely many clips, by a straight line in 1 / N.
  """

  n_clips: list[int]
  distance: list[float]
  limit: float


def curve(a: np.ndarray, b: np.ndarray, paired: bool = False, seed: int = 0) -> Curve:
  """Returns the curve of two sets of features, float [N D] and [M D].

  With `paired`, N / M rows of `a` belong to each of `b`, in order; subsets keep them together.

  The limit needs several times as many clips as the features have effective dimensions. With fewer
  the curve still bends, and the limit lies between the distance and the true one.
  Source: Chong and Forsyth 2020 (FID∞).
  """
  rng = np.random.default_rng(seed)
  some = lambda x, share: rng.permutation(len(x))[: max(round(share * len(x)), 2)]

  def subsets(share: float) -> tuple[np.ndarray, np.ndarray]:
    if not paired:
      return a[some(a, share)], b[some(b, share)]
    chosen = some(b, share)
    return a.reshape(len(b), -1, a.shape[1])[chosen].reshape(-1, a.shape[1]), b[chosen]

  distances = []
  for share in _SHARES:
    pairs = [subsets(share) for _ in range(1 if share == 1 else _N_SUBSETS)]
    distances.append(float(np.mean([_distance(x, y) for x, y in pairs])))
  _, limit = np.polyfit([1 / share for share in _SHARES], distances, 1)
  n_clips = [max(round(share * len(a)), 2) for share in _SHARES]
  return Curve(n_clips, distances, float(limit))


def floor(real: np.ndarray, n: int, seed: int = 0) -> list[float]:
  """Returns distances of n real clips from as many others, for some splits of 2 n features."""
  rng = np.random.default_rng(seed)
  orders = [rng.permutation(len(real)) for _ in range(_N_SPLITS)]
  return [_distance(real[order[:n]], real[order[n : 2 * n]]) for order in orders]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
  return frechet_distance(gaussian(a), gaussian(b))
