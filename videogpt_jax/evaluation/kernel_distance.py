"""Kernel video distance: the squared maximum mean discrepancy of two sets of features.

N and M are the numbers of samples, D is the number of features.
"""

import numpy as np

from videogpt_jax.errors import UserError

N_CLIPS = 1000
"""Most clips of a set to use: memory is quadratic. Binkowski et al. 2018 take subsets of 1,000."""


class KernelDistance:
  """The unbiased squared MMD with the kernel (x.y / D + 1)^3.

  Unlike the Fréchet distance, it has no bias at small N but needs N^2 values of the kernel. It may
  be slightly negative for similar sets.

  Args:
    a, b: float [N D] and [M D]; N and M at least 2.
  Raises:
    UserError: there are too few samples, or the two D differ.
  Source: Gretton et al. 2012, eq. 3 (estimator); Binkowski et al. 2018 (the kernel, with its
  division by D); Unterthiner et al. 2018 (over video features).
  """

  def __init__(self, a: np.ndarray, b: np.ndarray):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
      raise UserError(
        f'features {a.shape} and {b.shape} must be [N D] and [M D], with at least 2 samples each'
      )
    self._within = [_kernel(x, x) for x in (a, b)]
    for kernel in self._within:
      np.fill_diagonal(kernel, 0)  # pairs of two samples only
    self._between = _kernel(a, b)

  def __call__(self, a: np.ndarray | None = None, b: np.ndarray | None = None) -> float:
    """Returns the squared discrepancy, in units of the kernel.

    Args:
      a, b: int [N] and [M], how often each sample counts; None counts each once. Copies of a sample
        do not count as pairs.
    """
    weights = [
      np.ones(len(k)) if w is None else w for k, w in zip(self._within, (a, b), strict=True)
    ]
    within = [
      w @ k @ w / (w.sum() ** 2 - w @ w) for k, w in zip(self._within, weights, strict=True)
    ]
    a, b = weights
    return float(sum(within) - 2 * (a @ self._between @ b) / (a.sum() * b.sum()))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the distance of two sets of features, see `KernelDistance`."""
  return KernelDistance(a, b)()


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  return (x @ y.T / x.shape[1] + 1) ** 3
