"""Fréchet distance between two sets of features, in float64 on the host.

N is the number of samples, D the number of features.
"""

from typing import NamedTuple

import numpy as np

from videogpt_jax.errors import UserError


class Gaussian(NamedTuple):
  """Mean and covariance of a set of features.

  Attributes:
    mean: float64 [D].
    root: float64 [R D], R at most D and N: root^T root is the unbiased covariance.
  """

  mean: np.ndarray
  root: np.ndarray


def gaussian(features: np.ndarray, weights: np.ndarray | None = None) -> Gaussian:
  """Returns mean and covariance of features.

  Args:
    features: float [N D].
    weights: int [N], how often each sample counts; None counts each once.
  Raises:
    UserError: the shape is not [N D], or there are fewer than two samples.
  """
  features = np.asarray(features, np.float64)
  if features.ndim != 2 or len(features) < 2:
    raise UserError(f'features {features.shape} must be [N D] with at least 2 samples; add clips')
  if weights is None:
    weights = np.ones(len(features), int)
  features, weights = features[weights > 0], weights[weights > 0]
  n = weights.sum()
  mean = weights @ features / n
  root = (features - mean) * np.sqrt(weights / (n - 1))[:, None]
  return Gaussian(mean, root if len(root) <= root.shape[1] else np.linalg.qr(root, mode='r'))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
  """Returns |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), A and B the covariances.

  With A = R^T R and B = S^T S, the trace of the root is the nuclear norm of R S^T, a sum of
  singular values. No root of a matrix is computed: with rank-deficient covariances (fewer samples
  than dimensions) the result carries a rounding error instead of its square root. Identical sets
  score 0 up to rounding, never less.

  Returns:
    the distance, in squared units of the features.
  Raises:
    UserError: the two D differ.
  Source: Dowson and Landau 1982; Heusel et al. 2017 (as a score, FID).
  """
  if len(a.mean) != len(b.mean):
    raise UserError(
      f'features must have the same dimensions ({len(a.mean)} and {len(b.mean)}); '
      'use one network for both sets'
    )
  cross = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
  traces = np.sum(a.root**2) + np.sum(b.root**2)
  return max(float(np.sum((a.mean - b.mean) ** 2) + traces - 2 * cross), 0.0)
