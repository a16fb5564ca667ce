"""Still images as frames: as a viewer shows them."""

import io
import os

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from videogpt_jax.framing import Framing, colour, reframe
from videogpt_jax.input.faults import printable
from videogpt_jax.input.recording import BrokenRecordingError

_FAULTS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def frame_of(source: str | os.PathLike | bytes, framing: Framing | None) -> np.ndarray:
  """Returns a picture as a frame, see `Recording.frames`; raises as `read_image`."""
  if framing is None:
    return read_image(source)
  return reframe(read_image(source, framing.background), framing)


def read_image(source: str | os.PathLike | bytes, background: str = 'white') -> np.ndarray:
  """Returns the picture in a file, or in its content: uint8 [h w 3], turned as its tags say.

  Transparent pixels show the background. 16-bit images keep their upper 8 bits.

  Raises:
    BrokenRecordingError: it is no picture, or damaged.
  """
  try:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
      return shown(image, background)
  except _FAULTS as error:
    name = '' if isinstance(source, bytes) else f'{printable(os.path.basename(source))}: '
    raise BrokenRecordingError(f'{name}no readable picture ({_reason(error)})') from error


def _reason(error) -> str:
  if isinstance(error, UnidentifiedImageError):  # its text has the path or an address in memory
    return 'cut short, or of no known format'
  return getattr(error, 'strerror', None) or printable(error)


def image_size(source: str | os.PathLike | bytes, turned: bool = True) -> tuple[int, int]:
  """Returns (h, w) of the picture in a file, as it is shown or as it is stored.

  Raises as `read_image`.
  """
  try:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
      width, height = image.size
      lying = turned and image.getexif().get(0x0112, 1) >= 5  # EXIF's orientation
  except _FAULTS as error:
    raise BrokenRecordingError(f'no readable picture ({_reason(error)})') from error
  return (width, height) if lying else (height, width)


def shown(image: Image.Image, background: str) -> np.ndarray:
  """Returns an open picture as a viewer shows it, see `read_image`; raises what Pillow does."""
  if image.mode.startswith('I'):  # 16 bits, or 32 that hold 16
    grey = np.asarray(image).astype(np.int64)
    grey = (grey >> 8 if grey.max(initial=0) > 255 else grey).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
  image = ImageOps.exif_transpose(image)
  if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
    image = image.convert('RGBA')
    backdrop = Image.new('RGBA', image.size, (*colour(background), 255))
    image = Image.alpha_composite(backdrop, image)
  return np.asarray(image.convert('RGB'))
