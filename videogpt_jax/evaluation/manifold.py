"""Precision, recall, density and coverage: quality and variety of samples, told apart.

A real clip's neighbourhood reaches to its k-th nearest real clip, in the space of features. N real
and M generated clips, D features.
Source: Kynkäänniemi et al. 2019 (precision, recall); Naeem et al. 2020 (density, coverage).
"""

from collections.abc import Iterator

import numpy as np

from videogpt_jax.errors import UserError

K_PRECISION = 3  # Kynkäänniemi et al. 2019, section 2
K_DENSITY = 5  # Naeem et al. 2020, section 4
_CHUNK = 1000  # clips


def manifold_scores(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
  """Compares generated with real clips.

  Args:
    generated, real: float [M D], [N D].
  Returns:
    `precision`: share of generated clips in a neighbourhood of a real one. `recall`: share of real
    clips in a neighbourhood of a generated one. `density`: number of real neighbourhoods that a
    generated clip is in, divided by k; above 1 where generated clips crowd among real ones.
    `coverage`: share of real clips with a generated one in their neighbourhood.
  Raises:
    UserError: a set has too few clips.
  """
  if min(len(generated), len(real)) <= K_DENSITY:
    raise UserError(
      f'precision and coverage need more than {K_DENSITY} clips in each set, not '
      f'{len(generated)} and {len(real)}; add clips'
    )
  of_real, of_generated = _radii(real), _radii(generated)
  n_in_real, n_near, recalled, covered = 0, 0, np.zeros(len(real), bool), np.zeros(len(real), bool)
  for rows in _chunks(generated):
    between = _distances(real, generated[rows])
    n_in_real += (between <= of_real[:, :1]).any(axis=0).sum()
    recalled |= (between <= of_generated[rows, 0]).any(axis=1)
    near = between <= of_real[:, 1:]
    n_near += near.sum()
    covered |= near.any(axis=1)
  return {
    'precision': float(n_in_real / len(generated)),
    'recall': float(recalled.mean()),
    'density': float(n_near / len(generated) / K_DENSITY),
    'coverage': float(covered.mean()),
  }


def _radii(x: np.ndarray) -> np.ndarray:
  """Returns squared distances from the K_PRECISION-th and K_DENSITY-th neighbour, [N 2]."""
  ks = [K_PRECISION, K_DENSITY]  # place 0 is the clip itself
  parts = [np.partition(_distances(x[rows], x), ks, axis=1)[:, ks] for rows in _chunks(x)]
  return np.concatenate(parts)


def _chunks(x: np.ndarray) -> Iterator[slice]:
  """Yields slices of some rows: all distances of 25,600 clips would take 5 GB."""
  return (slice(start, start + _CHUNK) for start in range(0, len(x), _CHUNK))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns squared distances float64 [N M]."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)
  return np.maximum(squares - 2 * a @ b.T, 0)
