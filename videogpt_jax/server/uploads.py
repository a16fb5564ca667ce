"""Videos and photos that a browser sends: bounded in size, read by the readers of training."""

import pathlib
import tempfile
from collections.abc import AsyncIterator

import numpy as np

from videogpt_jax import readers
from videogpt_jax.errors import UserError
from videogpt_jax.videogpt import VideoGPT

MOST_BYTES = 64 * 2**20
"""Size of an upload."""

MOST_FRAMES = 36_000
"""Length of an upload: ten minutes at sixty frames a second."""


async def receive(parts: AsyncIterator[bytes]) -> bytes:
  """Returns what a browser sends (UserError: it is nothing, or too large)."""
  content = bytearray()
  async for part in parts:
    content += part
    if len(content) > MOST_BYTES:
      raise UserError(f'an upload may have {MOST_BYTES >> 20} MB; send a shorter or smaller video')
  if not content:
    raise UserError('the upload is empty; choose a video or a photo')
  return bytes(content)


def frames(content: bytes, name: str, model: VideoGPT) -> np.ndarray:
  """Returns the first frames of what was uploaded, as many as a clip has; see `read`."""
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / f'upload{pathlib.PurePath(name).suffix[:8]}'
    file.write_bytes(content)
    return read(file, name, model, model.vqvae.spec.sequence_length)


def read(
  file: pathlib.Path, name: str, model: VideoGPT, n: int, from_end: bool = False
) -> np.ndarray:
  """Returns frames of an uploaded video, float32 [n H W 3] in [-0.5, 0.5].

  A photo, or a video of fewer frames than n, stands still at its end.

  Args:
    file: where it lies.
    name: what its user calls it.
    model: whose frames are wanted.
    n: how many.
    from_end: the last ones, not the first ones.
  Raises:
    UserError: it is no video, photo or array, or too long.
  """
  take = readers.Take(model.cut, model.vqvae.spec.frame_size, n, from_end=from_end)
  try:
    length = len(readers.open_recording('the upload', file))
    if length > MOST_FRAMES:
      raise UserError(
        f'the upload {name} has {length} frames; it may have {MOST_FRAMES}: send a part of it'
      )
    shown = readers.read_frames('the upload', file, take)
  except UserError as error:
    raise UserError(str(error).replace(str(file), name)) from None
  if not len(shown):
    raise UserError(f'the upload {name} has no frames')
  return shown[np.minimum(np.arange(n), len(shown) - 1)]
