"""Which positions attend to which: full causal, and the strided block-sparse layout."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class CausalMask:
  """Which of the earlier positions a position may attend to.

  Attributes:
    layout: bool [n n], block i may attend to block j; None admits every earlier position.
    block: positions in a block of the layout.
  """

  layout: np.ndarray | None = None
  block: int = 1

  def rows(self, positions: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns bool [len(positions) len(keys)]: True where the key may be attended to."""
    admitted = keys <= positions[:, None]
    if self.layout is None:
      return admitted
    return admitted & jnp.asarray(self.layout)[positions[:, None] // self.block, keys // self.block]


def strided_mask(latent_shape: Sequence[int], block: int, n_local_blocks: int) -> CausalMask:
  """Returns the strided sparse mask of a grid in raster order.

  The grid is cut into runs of `block` positions. A block attends to itself, to the `n_local_blocks`
  before it, and to those earlier blocks whose coordinates differ from its own along one axis, the
  last axis of the block grid excepted.

  Args:
    latent_shape: sizes of the grid's axes.
    block: positions a block.
    n_local_blocks: earlier neighbours that are always attended to.
  Raises:
    ValueError: blocks do not tile the grid.
  Source: Child et al. 2019 (arXiv 1904.10509), generalised to any number of axes as in the
    published implementation.
  """
  length = math.prod(latent_shape)
  axis, size = _tiled_axes(latent_shape, block)
  if size % block:
    others = range(min(8, length), length + 1)
    options = [n for n in others if _tiled_axes(latent_shape, n)[1] % n == 0]
    raise ValueError(
      f'sparse attention: blocks of {block} do not divide the {size} positions of the latent axes '
      f'{tuple(latent_shape[axis:])} of {tuple(latent_shape)}; blocks that do: {options}'
    )
  grid = (*latent_shape[:axis], size // block)
  coordinates = np.array(list(itertools.product(*map(range, grid))))
  row, col = np.indices((length // block, length // block))
  local = (col <= row) & (col >= row - n_local_blocks)
  differs = coordinates[:, None] != coordinates[None]
  strided = (differs.sum(-1) <= 1) & ~differs[..., -1] & (col <= row)
  return CausalMask(local | strided, block)


def _tiled_axes(latent_shape: Sequence[int], block: int) -> tuple[int, int]:
  """Returns the first of the axes that blocks tile, and the number of positions that these have.

  They are the last axes, as many of them as it takes to exceed one block.
  """
  axis, size = len(latent_shape) - 1, latent_shape[-1]
  while size <= block and axis > 0:
    axis -= 1
    size *= latent_shape[axis]
  return axis, size
