"""Distances between a video and its reference, frame by frame: PSNR, SSIM and NMSE.

Axes: B batch; T H W frames, height, width; C colour. Values are in [0, 1] or in [-0.5, 0.5]: only
SSIM depends on a common shift, which its argument `offset` removes.
"""

from collections.abc import Callable

import einops
import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError

_GAUSSIAN_SIGMA = 1.5  # Wang et al. 2004, section III.B: an 11x11 window
_GAUSSIAN_RADIUS = 5
_UNIFORM_WIDTH = 7  # scikit-image's default window
_K1, _K2 = 0.01, 0.03  # Wang et al. 2004: C1 = (K1 L)^2, C2 = (K2 L)^2, L the data range

ROUNDING_ERROR = (1 / 255) ** 2 / 12
"""Mean squared error of rounding to 8 bits, over the squared data range: the variance of a uniform
distribution one level wide. It bounds PSNR at 10 log10(12 * 255^2) = 58.92 dB."""


def psnr(video: jax.Array, reference: jax.Array, data_range: float = 1.0) -> jax.Array:
  """Peak signal-to-noise ratio of each frame, at most 58.92 dB.

  An error below that of rounding to 8 bits counts as that error. A mean over frames thus stays
  finite if one frame is reproduced exactly.

  Args:
    video, reference: float [... H W C], of the same shape.
    data_range: width of the range of pixel values (1 for [0, 1] and for [-0.5, 0.5]).
  Returns:
    float32 [...], in dB.
  Raises:
    UserError: the shapes differ.
  """
  _check_shapes(video, reference)
  error = jnp.square(video.astype(jnp.float32) - reference.astype(jnp.float32))
  error = jnp.mean(error, axis=(-3, -2, -1)) / data_range**2
  return -10 * jnp.log10(jnp.maximum(error, ROUNDING_ERROR))


def ssim(
  video: jax.Array,
  reference: jax.Array,
  data_range: float = 1.0,
  *,
  offset: float = 0.0,
  window: str = 'uniform',
) -> jax.Array:
  """Structural similarity of each frame, averaged over colours and over whole windows.

  Args:
    video, reference: float [... H W C], of the same shape, at least a window high and wide.
    data_range: width of the range of pixel values.
    offset: added to every value, so that intensities start at 0; 0.5 for [-0.5, 0.5].
    window: 'uniform' (7x7, sample covariances) scikit-image's default, or 'gaussian'
      (11x11, sigma 1.5), as in the SSIM paper.
  Returns:
    float32 [...], at most 1; equal to scikit-image's `structural_similarity` within 1e-5.
  Raises:
    UserError: the shapes differ, the frames are smaller than the window, or the window is unknown.
  Source: Wang et al. 2004, eq. 13.
  """
  _check_shapes(video, reference)
  weights, covariance_scale = _window(window)
  if min(video.shape[-3:-1]) < len(weights):
    raise UserError(
      f'frames ({video.shape[-3]}x{video.shape[-2]}) must be at least as large as the {window} '
      f'SSIM window ({len(weights)}x{len(weights)}); use larger frames'
    )
  x, y = video.astype(jnp.float32), reference.astype(jnp.float32)
  # (Co)variances do not depend on a shift, but float32 is more precise near zero.
  shift = jnp.mean(y, axis=(-3, -2), keepdims=True)
  x, y = x - shift, y - shift
  mean = lambda image: _filter(image, weights)
  mean_x, mean_y = mean(x), mean(y)
  var_x = covariance_scale * (mean(x * x) - mean_x**2)
  var_y = covariance_scale * (mean(y * y) - mean_y**2)
  cov = covariance_scale * (mean(x * y) - mean_x * mean_y)
  mean_x, mean_y = mean_x + shift + offset, mean_y + shift + offset
  c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
  luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
  contrast_structure = (2 * cov + c2) / (var_x + var_y + c2)
  return jnp.mean(luminance * contrast_structure, axis=(-3, -2, -1))


def nmse(video: jax.Array, reference: jax.Array, variance: jax.Array | None = None) -> jax.Array:
  """Mean squared error divided by the variance of the data.

  Table 3 of the paper does not define its NMSE. Its code divides the same error by 0.06, the
  variance of BAIR's pixels.

  Args:
    video, reference: float, of the same shape.
    variance: of all pixels of the data set; by default that of `reference`.
  Returns:
    float32 scalar; 0 for equal videos, 1 for a constant one at the data's mean.
  Raises:
    UserError: the shapes differ.
  """
  _check_shapes(video, reference)
  video, reference = video.astype(jnp.float32), reference.astype(jnp.float32)
  variance = jnp.var(reference) if variance is None else variance
  return jnp.mean(jnp.square(video - reference)) / variance


def framewise(
  distance: Callable[[jax.Array, jax.Array], jax.Array], video: jax.Array, reference: jax.Array
) -> jax.Array:
  """Applies `distance`, on [N H W C] pairs, to the frames of [B T H W C] pairs: [B T]."""
  frames = [einops.rearrange(clip, 'B T H W C -> (B T) H W C') for clip in (video, reference)]
  return einops.rearrange(distance(*frames), '(B T) -> B T', B=video.shape[0])


def _window(name: str) -> tuple[np.ndarray, float]:
  """Returns the separable window's weights, and the factor of scikit-image's covariances."""
  if name == 'uniform':
    n = _UNIFORM_WIDTH**2
    return np.full(_UNIFORM_WIDTH, 1 / _UNIFORM_WIDTH), n / (n - 1)
  if name == 'gaussian':
    weights = np.exp(
      -0.5 * (np.arange(-_GAUSSIAN_RADIUS, _GAUSSIAN_RADIUS + 1) / _GAUSSIAN_SIGMA) ** 2
    )
    return weights / weights.sum(), 1.0
  raise UserError(f"window ({name!r}) must be 'uniform' or 'gaussian'")


def _filter(image: jax.Array, weights: np.ndarray) -> jax.Array:
  """Returns weighted means over the windows inside the image: [... H W C] -> [... H' W' C]."""
  for axis in (-3, -2):
    n = image.shape[axis] - len(weights) + 1
    image = sum(
      weight * jax.lax.slice_in_dim(image, i, i + n, axis=image.ndim + axis)
      for i, weight in enumerate(weights.astype(np.float32))
    )
  return image


def _check_shapes(video: jax.Array, reference: jax.Array) -> None:
  if video.shape != reference.shape:
    raise UserError(
      f'video {video.shape} and reference {reference.shape} must have the same shape; '
      'resize or crop one of them'
    )
