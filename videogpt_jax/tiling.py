"""Frames larger than a tokenizer was trained on, tile by tile.

Tiles have the trained size and overlap. A code is that of the tile in which its place lies deepest.
Decoded tiles fade into one another in the middle half of what they share, since a network is at its
worst at the edge of what it sees.

Axis letters: B batch; T H W frames, height, width; t h w latent grid.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from videogpt_jax import programs
from videogpt_jax.errors import UserError
from videogpt_jax.models.trained import Trained
from videogpt_jax.models.vqvae import VQVAE


@dataclasses.dataclass(frozen=True)
class Tiling:
  """Tiles along height or width.

  Attributes:
    size: of the latent grid.
    tile: of a tile, in places of that grid; at most `size`.
    overlap: what neighbours share at least; less than `tile`.
    factor: pixels of a place.
  """

  size: int
  tile: int
  overlap: int
  factor: int

  @property
  def starts(self) -> list[int]:
    """First place of each tile, evenly from the first to the last possible one."""
    rest = self.size - self.tile
    n = 1 + -(-rest // (self.tile - self.overlap))
    return np.linspace(0, rest, n).round().astype(int).tolist()

  @property
  def places(self) -> list[slice]:
    """What each tile covers of the latent grid."""
    return [slice(start, start + self.tile) for start in self.starts]

  @property
  def pixels(self) -> list[slice]:
    """What each tile covers of the frames."""
    return [slice(self.factor * at.start, self.factor * at.stop) for at in self.places]

  @property
  def kept(self) -> list[slice]:
    """Which of its own places give the codes, for each tile."""
    middles = [(a + self.tile + b) // 2 for a, b in itertools.pairwise(self.starts)]
    ends = itertools.pairwise([0, *middles, self.size])
    return [slice(a - start, b - start) for start, (a, b) in zip(self.starts, ends, strict=True)]

  @property
  def weights(self) -> list[np.ndarray]:
    """The weight of each tile's pixels in the frames, float32 [factor tile]; they add up to 1."""
    pixel = np.arange(self.factor * self.size) + 0.5
    ramps = []
    for at in self.pixels:
      before = pixel - at.start if at.start else np.inf
      after = at.stop - pixel if at.stop < len(pixel) else np.inf
      depth = np.minimum(before, after) / (self.factor * max(self.overlap, 1))
      ramps.append(np.clip(2 * depth - 0.5, 0, 1) * np.ones_like(pixel))
    total = np.sum(ramps, axis=0)
    return [
      (ramp / total)[at].astype(np.float32) for ramp, at in zip(ramps, self.pixels, strict=True)
    ]


def tilings(
  grid: Sequence[int], tile: Sequence[int], factors: Sequence[int], overlap: int
) -> tuple[Tiling, Tiling]:
  """Returns the tiles along height and width.

  Args:
    grid: (h, w) of the frames.
    tile: (h, w) of a tile.
    factors: pixels of a place, along both.
    overlap: places that neighbours share at least.
  Raises:
    UserError: tiles that overlap so much would not go on.
  """
  if not 0 < overlap < min(tile):
    raise UserError(
      f'overlap ({overlap}) must be at least 1 and less than a tile ({min(tile)} latent places)'
    )
  sides = zip(grid, tile, factors, strict=True)
  return tuple(Tiling(n, min(m, n), min(overlap, n - 1), factor) for n, m, factor in sides)


def encode(vqvae: Trained[VQVAE], video: np.ndarray, tiles: tuple[Tiling, Tiling]) -> np.ndarray:
  """Returns the codes int32 [B t h w] of video float32 [B T H W 3] in [-0.5, 0.5]."""
  rows, columns = (list(zip(axis.pixels, axis.kept, strict=True)) for axis in tiles)

  def codes(y, x, keep_y, keep_x):
    return np.asarray(programs.encode(vqvae, video[:, :, y, x]))[:, :, keep_y, keep_x]

  return np.concatenate(
    [
      np.concatenate([codes(y, x, keep_y, keep_x) for x, keep_x in columns], axis=3)
      for y, keep_y in rows
    ],
    axis=2,
  )


def decode(vqvae: Trained[VQVAE], codes: np.ndarray, tiles: tuple[Tiling, Tiling]) -> np.ndarray:
  """Returns the video float32 [B T H W 3], not clipped, of codes int32 [B t h w]."""
  height, width = (axis.factor * axis.size for axis in tiles)
  rows, columns = (list(zip(axis.places, axis.pixels, axis.weights, strict=True)) for axis in tiles)
  video = None
  for (at_y, y, weight_y), (at_x, x, weight_x) in itertools.product(rows, columns):
    tile = np.asarray(programs.decode(vqvae, codes[:, :, at_y, at_x]))
    if video is None:
      video = np.zeros((*tile.shape[:2], height, width, 3), np.float32)
    video[:, :, y, x] += weight_y[:, None, None] * weight_x[:, None] * tile
  return video
