"""Masks of attention: causal, the strided block-sparse layout, and a sliding window of frames."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError

_MOST_BLOCKS = 2**12
"""Blocks of a sparse mask, whose layout is dense: a third of a GB is needed to make it."""


@dataclasses.dataclass(frozen=True, eq=False)
class CausalMask:
  """The earlier positions that a position may attend to.

  Masks compare and hash by value: models with equal masks share compiled programs.

  Attributes:
    layout: bool [n n], whether block i may attend to block j, read-only; None admits every earlier
      position.
    block: positions in a block of the layout.
  """

  layout: np.ndarray | None = None
  block: int = 1

  def __post_init__(self):
    if self.layout is not None:
      self.layout.setflags(write=False)

  @functools.cached_property
  def _value(self) -> tuple:
    layout = None if self.layout is None else (self.layout.shape, self.layout.tobytes())
    return layout, self.block

  def __eq__(self, other: object) -> bool:
    return self is other or (isinstance(other, CausalMask) and self._value == other._value)

  def __hash__(self) -> int:
    return hash(self._value)

  def rows(self, positions: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns bool [len(positions) len(keys)]: whether a position may attend to a key."""
    admitted = keys <= positions[:, None]
    if self.layout is None:
      return admitted
    return admitted & jnp.asarray(self.layout)[positions[:, None] // self.block, keys // self.block]


def strided_mask(latent_shape: Sequence[int], block: int, n_local_blocks: int) -> CausalMask:
  """Returns the strided sparse mask of a grid in raster order.

  The grid is divided into blocks of consecutive positions. A block attends to itself, to the
  `n_local_blocks` before it, and to earlier blocks whose coordinates differ from its own along a
  single axis other than the last axis of the block grid.

  Args:
    latent_shape: sizes of the grid's axes.
    block: positions in a block.
    n_local_blocks: number of preceding blocks that are always attended to.
  Raises:
    UserError: blocks do not tile the grid.
  Source: Child et al. 2019 (arXiv 1904.10509), generalised to any number of axes as in the
    published implementation.
  """
  length = math.prod(latent_shape)
  axis, size = _tiled_axes(latent_shape, block)
  if size % block:
    others = range(min(8, length), length + 1)
    options = [n for n in others if _tiled_axes(latent_shape, n)[1] % n == 0]
    raise UserError(
      f'sparse attention: blocks of {block} do not divide the {size} positions of the latent axes '
      f'{tuple(latent_shape[axis:])} of {tuple(latent_shape)}; blocks that do: {options}'
    )
  if length // block > _MOST_BLOCKS:
    raise UserError(
      f'sparse attention: {length} codes are {length // block} blocks of {block}, and at most '
      f'{_MOST_BLOCKS} are possible; use larger blocks or shorter clips'
    )
  grid = (*latent_shape[:axis], size // block)
  coordinates = np.array(list(itertools.product(*map(range, grid))))
  row, col = np.indices((length // block, length // block))
  local = (col <= row) & (col >= row - n_local_blocks)
  differs = coordinates[:, None] != coordinates[None]
  strided = (differs.sum(-1) <= 1) & ~differs[..., -1] & (col <= row)
  return CausalMask(local | strided, block)


def window_mask(latent_shape: Sequence[int], window: int) -> CausalMask:
  """Returns the mask of a sliding window: codes attend to the last `window` latent frames.

  A code's own latent frame is one of them.

  Args:
    latent_shape: (t, h, w), or (t, h, w, n_codebooks).
    window: latent frames.
  Source: Beltagy et al. 2020 (arXiv 2004.05150), section 3.1, with frames in place of tokens.
  """
  row, col = np.indices((latent_shape[0], latent_shape[0]))
  return CausalMask((col <= row) & (col > row - window), math.prod(latent_shape[1:]))


def _tiled_axes(latent_shape: Sequence[int], block: int) -> tuple[int, int]:
  """Returns the first of the axes that blocks tile, and the product of their sizes.

  These are the last axes, as many as it takes to exceed one block.
  """
  axis, size = len(latent_shape) - 1, latent_shape[-1]
  while size <= block and axis > 0:
    axis -= 1
    size *= latent_shape[axis]
  return axis, size
