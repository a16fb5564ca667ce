"""Videos of any length through a causal tokenizer, piece by piece.

Axis letters: B batch; T H W frames, height, width; t h w latent grid.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from videogpt_jax import programs
from videogpt_jax.errors import UserError
from videogpt_jax.models.time_grid import TimeGrid
from videogpt_jax.models.trained import Trained
from videogpt_jax.models.vqvae import VQVAE

PIECE = 4
"""Latent frames that go through the network at once, at most: this bounds the memory."""


def encode(
  vqvae: Trained[VQVAE], grid: TimeGrid, chunks: Iterable[jax.Array]
) -> Iterator[jax.Array]:
  """Yields the codes int32 [B t h w] of a video, as its chunks fill latent frames.

  Args:
    vqvae: a causal tokenizer.
    grid: its frames and latent frames.
    chunks: float32 [B T H W 3] each.
  Raises:
    UserError: a chunk has another size, or the video ends within a latent frame.
  """
  kept, waiting, n_frames = None, None, 0
  now = grid
  for chunk in chunks:
    chunk = np.asarray(chunk)  # on the host, slices cost nothing
    n_frames += chunk.shape[1]
    waiting = chunk if waiting is None else _joined(waiting, chunk)
    while n := now.frames(min(now.whole_latent_frames(waiting.shape[1]), PIECE)):
      codes, kept = programs.encode_piece(vqvae, waiting[:, :n], kept)
      waiting = waiting[:, n:]
      now = dataclasses.replace(grid, first_alone=False)  # which the first frame no longer is
      yield codes
  if not n_frames or waiting.shape[1]:
    grid.latent_frames(n_frames)  # which says what lengths fit


def decode(vqvae: Trained[VQVAE], chunks: Iterable[jax.Array]) -> Iterator[jax.Array]:
  """Yields the video float32 [B T H W 3] of codes, a piece at a time.

  Args:
    vqvae: a causal tokenizer.
    chunks: int32 [B t h w] each, consecutive latent frames.
  """
  kept = None
  for piece in _pieces(chunks):
    video, kept = programs.decode_piece(vqvae, piece, kept)
    yield video


class Decoder:
  """Decodes generated videos as their codes come, a few videos at a time.

  Args:
    vqvae: a causal tokenizer.
    shares: among how many groups of devices videos are divided.
    mesh: these devices, or None for one.
  """

  def __init__(self, vqvae: Trained[VQVAE], shares: int = 1, mesh: Mesh | None = None):
    self._vqvae, self._shares, self._mesh = vqvae, shares, mesh
    self._kept: dict[int, programs.Kept] = {}

  @property
  def begun(self) -> bool:
    """Whether codes have come."""
    return bool(self._kept)

  def __call__(self, codes: np.ndarray) -> np.ndarray:
    """Returns the video float32 [n T H W 3] in [0, 1] of the next codes int32 [n t h w]."""
    n, each = len(codes), programs.at_once(len(codes), self._shares)
    rows = np.minimum(np.arange(-(-n // each) * each), n - 1).reshape(-1, each)
    groups = [self._group(i, codes[group]) for i, group in enumerate(rows)]
    return np.clip(np.concatenate(groups)[:n], -0.5, 0.5) + np.float32(0.5)

  def _group(self, i: int, codes: np.ndarray) -> np.ndarray:
    frames = []
    for piece in _pieces([codes]):
      kept = self._kept.get(i)
      video, self._kept[i] = programs.decode_piece(self._vqvae, piece, kept, mesh=self._mesh)
      frames.append(np.asarray(video))
    return np.concatenate(frames, axis=1)


def _pieces(chunks: Iterable[jax.Array]) -> Iterator[np.ndarray]:
  for chunk in map(np.asarray, chunks):
    for start in range(0, chunk.shape[1], PIECE):
      yield chunk[:, start : start + PIECE]


def _joined(waiting: np.ndarray, chunk: np.ndarray) -> np.ndarray:
  before, after = (np.delete(x.shape, 1).tolist() for x in (waiting, chunk))
  if before != after:
    raise UserError(
      f'a chunk of video has shape {list(chunk.shape)} after one of {list(waiting.shape)}; all '
      'must have the same batch, height and width'
    )
  return np.concatenate([waiting, chunk], axis=1)
