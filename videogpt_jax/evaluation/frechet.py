"""Fréchet distance between two sets of features, from statistics that grow batch by batch.

N is the number of samples, D that of features. Everything here is float64 on the host: the
networks are what costs, not this.
"""

import dataclasses

import numpy as np

# A covariance's eigenvalues below this part of the largest are rounding, as in numpy's
# matrix_rank: D times it is the bound.
_EPSILON = np.finfo(np.float64).eps


@dataclasses.dataclass
class FeatureStatistics:
  """Count, mean and scatter of feature vectors; the vectors themselves are not kept.

  Batches are merged around their own means, which does not cancel as raw second moments do.
  Source: Chan, Golub and LeVeque 1983 (pairwise updating).
  """

  count: int = 0
  mean: np.ndarray | None = None  # float64 [D]
  scatter: np.ndarray | None = None  # float64 [D D]: sum of (x - mean) (x - mean)^T

  def add(self, features: np.ndarray) -> None:
    """Takes in a batch.

    Args:
      features: float [N D]; N may be 0.
    Raises:
      ValueError: not two axes, another D than before, or a value that is not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or (self.count and features.shape[1] != len(self.mean)):
      raise ValueError(
        f'features {features.shape} must be [N D] with the same D in every batch; '
        'use one network for all of them'
      )
    if not np.isfinite(features).all():
      row = int(np.argwhere(~np.isfinite(features).all(axis=1))[0, 0])
      raise ValueError(f'features of clip {row} of the batch must be finite; look at that clip')
    if not len(features):
      return
    mean = features.mean(axis=0)
    centred = features - mean
    scatter = centred.T @ centred
    if not self.count:
      self.count, self.mean, self.scatter = len(features), mean, scatter
      return
    total = self.count + len(features)
    shift = mean - self.mean
    self.scatter += scatter + np.outer(shift, shift) * (self.count * len(features) / total)
    self.mean = self.mean + shift * (len(features) / total)
    self.count = total

  def covariance(self) -> np.ndarray:
    """The unbiased covariance, float64 [D D].

    Raises:
      ValueError: fewer than two samples.
    """
    if self.count < 2:
      raise ValueError(f'a covariance needs at least 2 samples, not {self.count}; add more clips')
    return self.scatter / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
  """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), A and B the covariances.

  The root's trace is taken as the nuclear norm of A^(1/2) B^(1/2): it is a sum of singular
  values, so that rank-deficient covariances (fewer samples than dimensions) put rounding, and not
  the root of rounding, into the result. Identical sets score 0 within rounding, never below it.

  Args:
    a, b: statistics of features of the same D.
  Returns:
    the distance, in squared units of the features.
  Raises:
    ValueError: the two D differ, or a set has fewer than two samples.
  Source: Dowson and Landau 1982; Heusel et al. 2017 (as a score, FID).
  """
  covariances = a.covariance(), b.covariance()
  if len(a.mean) != len(b.mean):
    raise ValueError(
      f'features must have the same dimensions ({len(a.mean)} and {len(b.mean)}); '
      'use one network for both sets'
    )
  roots = [_root(covariance) for covariance in covariances]
  cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
  traces = sum(np.trace(covariance) for covariance in covariances)
  return max(float(np.sum((a.mean - b.mean) ** 2) + traces - 2 * cross), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
  """A factor R [rank D] with R^T R = covariance."""
  values, vectors = np.linalg.eigh(covariance)
  kept = values > _EPSILON * len(values) * max(values[-1], 0)
  return np.sqrt(values[kept])[:, None] * vectors[:, kept].T
