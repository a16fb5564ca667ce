"""Kernel video distance: the squared maximum mean discrepancy of two sets of features.

N and M are the numbers of samples, D that of features.
"""

import numpy as np


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
  """Unbiased squared MMD under the kernel (x.y / D + 1)^3.

  Unlike a Fréchet distance it needs all pairs of features, 1.6 kB a clip, and has no bias at
  small N; it may come out slightly below 0 where the two sets are alike.

  Args:
    a, b: float [N D] and [M D]; N and M at least 2.
  Returns:
    the squared discrepancy, in units of the kernel.
  Raises:
    ValueError: too few samples, or the two D differ.
  Source: Gretton et al. 2012, eq. 3 (estimator); Binkowski et al. 2018 (the kernel, with its
  division by D); Unterthiner et al. 2018 (over video features).
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
    raise ValueError(
      f'features {a.shape} and {b.shape} must be [N D] and [M D], with at least 2 samples each'
    )
  within = [_kernel(x, x) for x in (a, b)]
  means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in within]
  return float(sum(means) - 2 * _kernel(a, b).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  return (x @ y.T / x.shape[1] + 1) ** 3
