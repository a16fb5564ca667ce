"""Rotary position embeddings on a grid: coordinates rotate pairs of channels of each head.

The score of a query and a key then depends on their distance along each axis, not on their
positions. Each axis has its own pairs.

Axis letters: B batch; L positions in raster order; N heads; d head size; P pairs, d // 2.
Source: Su et al. 2021 (arXiv 2104.09864), eq. 34; axes as in Heo et al. 2024 (arXiv 2403.13298),
section 3.2.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError

BASE = 100.0
"""Base of the frequencies BASE**(-i / pairs of the axis), for grids tens of positions wide
(2403.13298, section 3.2); text, thousands of positions long, uses 10,000."""


def rotary_angles(grid: Sequence[int], head_size: int) -> np.ndarray:
  """Returns the angle of each pair at each position, float32 [L P], radians.

  Args:
    grid: sizes of the axes; the first axes get one pair more if their number does not divide P.
    head_size: d; if it is odd, the last channel is not rotated.
  Raises:
    UserError: an axis would get no pair.
  """
  n_pairs, n_axes = head_size // 2, len(grid)
  if n_pairs < n_axes:
    raise UserError(
      f'rotary positions on {n_axes} axes need a head size (hidden_dim / n_heads = {head_size}) of '
      f'at least {2 * n_axes}; use fewer heads or a larger hidden_dim'
    )
  if math.prod(grid) * n_pairs > 2**26:
    raise UserError(
      f'rotary positions of {math.prod(grid)} codes and heads of {head_size} need too much memory; '
      'use smaller heads or shorter clips'
    )
  share, rest = divmod(n_pairs, n_axes)
  coordinates = np.indices(grid).reshape(n_axes, -1)
  angles = []
  for axis, positions in enumerate(coordinates):
    pairs = share + (axis < rest)
    angles.append(positions[:, None] * BASE ** (-np.arange(pairs) / pairs))
  return np.concatenate(angles, axis=1).astype(np.float32)


def frame_angles(frame: int, grid: Sequence[int], head_size: int) -> np.ndarray:
  """Returns the angles [1 P] by which a latent frame's index rotates, for an index of any size.

  Added to the angles of latent frame 0, they are those of `rotary_angles`, up to full turns.

  Args:
    frame: index of the latent frame, the grid's first axis.
    grid: (t, h, w), or (t, h, w, n_codebooks); t does not matter.
    head_size: d.
  """
  n_pairs = head_size // 2
  pairs = n_pairs // len(grid) + (n_pairs % len(grid) > 0)
  angles = np.zeros((1, n_pairs))
  angles[0, :pairs] = frame * BASE ** (-np.arange(pairs) / pairs)  # float64: no index is too large
  return np.mod(angles, 2 * np.pi).astype(np.float32)


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
  """Rotates channel i together with channel P + i.

  Args:
    x: queries or keys [B L N d].
    angles: float32 [L P] or [B L P], at these positions.
  """
  P = angles.shape[-1]
  cos, sin = jnp.cos(angles)[..., None, :], jnp.sin(angles)[..., None, :]
  a, b, rest = jnp.split(x.astype(jnp.float32), [P, 2 * P], axis=-1)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1).astype(x.dtype)
