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
  """Returns the first frames of an uploaded video, float32 [T H W 3] in [-0.5, 0.5].

  A photo, or a video of fewer frames than a clip, stands still at its end.

  Raises:
    UserError: it is no video, photo or array.
  """
  spec = model.vqvae.spec
  T = spec.sequence_length
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / f'upload{pathlib.PurePath(name).suffix[:8]}'
    file.write_bytes(content)
    try:
      shown = readers.read_frames('the upload', file, readers.Take(model.cut, spec.frame_size, T))
    except UserError as error:
      raise UserError(str(error).replace(str(file), name)) from None
  if not len(shown):
    raise UserError(f'the upload {name} has no frames')
  return shown[np.minimum(np.arange(T), len(shown) - 1)]
