"""How a Fréchet distance depends on the number of clips: its floor, its curve, its limit.

A Fréchet distance of finite sets is too high, by an amount that falls about as 1 / N.
"""

from typing import NamedTuple

import numpy as np

from videogpt_jax.evaluation.frechet import frechet_distance, gaussian

_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the clips of both sets
_N_SUBSETS = 5  # of each size, to average over
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


def curve(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Curve:
  """Returns the curve of two sets of features, float [N D] and [M D].

  The limit needs several times as many clips as the features have effective dimensions. With fewer
  the curve still bends, and the limit lies between the distance and the true one.
  Source: Chong and Forsyth 2020 (FID∞).
  """
  rng = np.random.default_rng(seed)
  subset = lambda x, share: x[rng.permutation(len(x))[: max(round(share * len(x)), 2)]]
  distances = []
  for share in _SHARES:
    pairs = [(subset(a, share), subset(b, share)) for _ in range(1 if share == 1 else _N_SUBSETS)]
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
