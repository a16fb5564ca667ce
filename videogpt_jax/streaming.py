"""Videos of any length through a causal tokenizer, piece by piece.

Axis letters: B batch; T H W frames, height, width; t h w latent grid.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import jax
import numpy as np

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
  for chunk in map(np.asarray, chunks):
    for start in range(0, chunk.shape[1], PIECE):
      video, kept = programs.decode_piece(vqvae, chunk[:, start : start + PIECE], kept)
      yield video


def _joined(waiting: np.ndarray, chunk: np.ndarray) -> np.ndarray:
  before, after = (np.delete(x.shape, 1).tolist() for x in (waiting, chunk))
  if before != after:
    raise UserError(
      f'a chunk of video has shape {list(chunk.shape)} after one of {list(waiting.shape)}; all '
      'must have the same batch, height and width'
    )
  return np.concatenate([waiting, chunk], axis=1)
