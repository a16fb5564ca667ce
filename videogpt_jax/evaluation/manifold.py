"""Precision, recall, density and coverage: quality and variety of samples, told apart.

A real clip's neighbourhood reaches to its k-th nearest real clip, in the space of features. N real
and M generated clips, D features.
Source: Kynkäänniemi et al. 2019 (precision, recall); Naeem et al. 2020 (density, coverage).
"""

import numpy as np

from videogpt_jax.errors import UserError

K_PRECISION = 3  # Kynkäänniemi et al. 2019, section 2
K_DENSITY = 5  # Naeem et al. 2020, section 4


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
  between = _distances(real, generated)
  among_real, among_generated = (np.sort(_distances(x, x), axis=1) for x in (real, generated))
  # Place 0 is the clip itself.
  in_real = between <= among_real[:, K_PRECISION, None]
  in_generated = between <= among_generated[:, K_PRECISION]
  near = between <= among_real[:, K_DENSITY, None]
  return {
    'precision': float(in_real.any(axis=0).mean()),
    'recall': float(in_generated.any(axis=1).mean()),
    'density': float(near.sum(axis=0).mean() / K_DENSITY),
    'coverage': float(near.any(axis=1).mean()),
  }


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns squared distances float64 [N M]."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)
  return np.maximum(squares - 2 * a @ b.T, 0)
