"""Brings frames to the wanted size one by one, with NumPy: which size, how, and which pixels of a
frame are needed for it. Imports no JAX, so that processes that decode start quickly.

Bilinear, with pixel centres at half integers and no smoothing before shrinking, as everywhere else
(`videogpt_jax.resize`).

Letters: H W wanted height and width; h w a frame's height and width; C colour.
"""

import dataclasses
import functools
import math

import numpy as np

from videogpt_jax.errors import UserError

Resolution = int | tuple[int, int]
"""Size of a frame: the side of a square, or (height, width)."""

FITS = ('crop', 'pad', 'stretch')
"""Ways to bring a frame to another aspect ratio: cover the size and crop the centre, fit inside it
on black, or change the aspect ratio."""


@dataclasses.dataclass(frozen=True)
class Framing:
  """What becomes of a recording's frames.

  Attributes:
    size: (H, W).
    fit: one of `FITS`.
    antialias: whether to filter before scaling down; the published models were trained without.
    background: colour behind transparent pixels, by name or as '#rrggbb'.
  """

  size: tuple[int, int]
  fit: str = 'crop'
  antialias: bool = False
  background: str = 'white'

  def __post_init__(self):
    check_fit(self.fit)
    colour(self.background)


def check_fit(fit: str):
  """Raises UserError if `fit` is none of `FITS`."""
  if fit not in FITS:
    raise UserError(f'fit ({fit!r}) must be one of {", ".join(FITS)}')


def colour(name: str) -> tuple[int, int, int]:
  """Returns the red, green and blue of a colour, each in [0, 255].

  Raises:
    UserError: there is no such colour.
  """
  from PIL import ImageColor  # which models and sampling need not have

  try:
    return ImageColor.getrgb(name)[:3]
  except ValueError:
    raise UserError(
      f"background ({name!r}) must be a colour, such as 'white' or '#00ff00'"
    ) from None


def frame_size(resolution: Resolution) -> tuple[int, int]:
  """Returns (height, width)."""
  return (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)


def fitted_size(
  height: int, width: int, size: tuple[int, int], fit: str = 'crop'
) -> tuple[int, int]:
  """Returns the size to resize a frame to, before it is cropped or padded about the centre.

  Args:
    height, width: of the frame.
    size: (H, W) that is wanted in the end.
    fit: one of `FITS`.
  Source: for 'crop' the published preprocessing, in float64: the longer side is rounded up, also
    where only the arithmetic's rounding lifts it over an integer (198x297 to 32: width 49).
  """
  H, W = size
  if fit == 'stretch':
    return H, W
  taller = H / height > W / width
  if fit == 'pad':
    if taller:
      return max(1, round(height * (W / width))), W
    return H, max(1, round(width * (H / height)))
  if taller:
    return H, math.ceil(width * (H / height))
  return math.ceil(height * (W / width)), W


@dataclasses.dataclass(frozen=True)
class _Neighbours:
  """The two old pixels about each new one, and the weight of the second, along one axis.

  Attributes:
    needed: int [2 new], the first of all pairs, then the second.
    weight: float32 [new].
  """

  needed: np.ndarray
  weight: np.ndarray

  @classmethod
  def of(cls, pixels: np.ndarray, new: int, old: int) -> '_Neighbours':
    place = (pixels.astype(np.float32) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
    first = np.floor(place)
    needed = np.concatenate([np.maximum(first, 0), np.minimum(np.ceil(place), old - 1)])
    return cls(needed.astype(int), place - first)

  def blend(self, image: np.ndarray, axis: int) -> np.ndarray:
    n = len(self.weight)
    weight = self.weight.reshape(-1, *[1] * (image.ndim - axis - 1))
    first = image[(slice(None),) * axis + (slice(None, n),)].astype(np.float32)
    last = image[(slice(None),) * axis + (slice(n, None),)].astype(np.float32)
    last -= first
    last *= weight
    last += first
    return last


@dataclasses.dataclass(frozen=True)
class _Triangles:
  """Weights of all old pixels in each new one, float32 [new old], along one axis."""

  needed: np.ndarray
  weights: np.ndarray

  @classmethod
  def of(cls, pixels: np.ndarray, new: int, old: int) -> '_Triangles':
    scale = old / new
    place = (pixels[:, None] + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(old) - place) / max(scale, 1))
    return cls(np.arange(old), (weights / weights.sum(1, keepdims=True)).astype(np.float32))

  def blend(self, image: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(self.weights, image.astype(np.float32), (1, axis)), 0, axis)


@dataclasses.dataclass(frozen=True)
class Resampling:
  """Brings frames of one size to another; see `resampling`.

  Attributes:
    size: (H, W).
    down, across: what to do along height and width.
    corner: row and column where the resized part lies in the padded frame.
  """

  size: tuple[int, int]
  down: _Neighbours | _Triangles
  across: _Neighbours | _Triangles
  corner: tuple[int, int]

  @property
  def rows(self) -> np.ndarray:
    """int, the rows of a frame that are needed, in the order in which they are needed."""
    return self.down.needed

  @property
  def columns(self) -> np.ndarray:
    """int, the columns of a frame that are needed, in the order in which they are needed."""
    return self.across.needed

  def __call__(self, needed: np.ndarray) -> np.ndarray:
    """Takes the needed rows and columns of a frame, uint8 or float32 [... C]; see `reframe`."""
    inside = self.across.blend(self.down.blend(needed, 0), 1)
    if inside.shape[:2] == self.size:
      return inside
    framed = np.zeros((*self.size, needed.shape[-1]), np.float32)
    top, left = self.corner
    framed[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return framed


@functools.lru_cache(maxsize=64)
def resampling(
  stored: tuple[int, int], framing: Framing, shown: tuple[int, int] | None = None
) -> Resampling:
  """Returns what brings frames of `stored` pixels (h, w) to the wanted size.

  Args:
    stored: (h, w) of the pixels.
    framing: the size, and how to fit it.
    shown: (h, w) at which the frame is shown, if its pixels are not square.
  """
  fitted = fitted_size(*(shown or stored), framing.size, framing.fit)
  # Where the wanted pixels lie in the fitted frame: inside it, unless it is padded.
  begins = [int((new - side) / 2) for new, side in zip(fitted, framing.size, strict=True)]
  spans = [
    np.arange(max(0, begin), min(new, begin + side))
    for begin, new, side in zip(begins, fitted, framing.size, strict=True)
  ]
  kind = _Triangles if framing.antialias else _Neighbours
  axes = (kind.of(*axis) for axis in zip(spans, fitted, stored, strict=True))
  corner = tuple(int(span[0]) - begin for span, begin in zip(spans, begins, strict=True))
  return Resampling(framing.size, *axes, corner)


def reframe(image: np.ndarray, framing: Framing) -> np.ndarray:
  """Brings one frame to the wanted size.

  Without antialiasing it reads four pixels for each pixel, whatever the size of the frame.

  Args:
    image: uint8 or float32 [h w C].
    framing: the size, and how to fit it.
  Returns:
    float32 [H W C] in the input's range, not rounded; the image itself where it has that size.
  """
  if image.shape[:2] == framing.size:
    return image
  plan = resampling(image.shape[:2], framing)
  return plan(image[plan.rows][:, plan.columns])
