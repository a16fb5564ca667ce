"""Distances between a video and its reference, frame by frame: PSNR, SSIM and NMSE.

Axes: B batch; T H W frames, height, width; C colour. Values may lie in [0, 1] or in [-0.5, 0.5]
(the measures that matter here do not see a common shift; SSIM alone does, and is told the offset).
"""

from collections.abc import Callable

import einops
import jax
import jax.numpy as jnp
import numpy as np

_GAUSSIAN_SIGMA = 1.5  # Wang et al. 2004, section III.B: an 11x11 window
_GAUSSIAN_RADIUS = 5
_UNIFORM_WIDTH = 7  # scikit-image's default window
_K1, _K2 = 0.01, 0.03  # Wang et al. 2004: C1 = (K1 L)^2, C2 = (K2 L)^2, L the data range


def psnr(video: jax.Array, reference: jax.Array, data_range: float = 1.0) -> jax.Array:
  """Peak signal-to-noise ratio of each frame.

  Args:
    video, reference: float [... H W C], of the same shape.
    data_range: what a pixel's values span (1 for [0, 1] and for [-0.5, 0.5]).
  Returns:
    float32 [...], in dB; infinite where the two frames are equal.
  Raises:
    ValueError: the shapes differ.
  """
  _check_shapes(video, reference)
  error = jnp.square(video.astype(jnp.float32) - reference.astype(jnp.float32))
  return -10 * jnp.log10(jnp.mean(error, axis=(-3, -2, -1)) / data_range**2)


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
    data_range: what a pixel's values span.
    offset: is added to every value to give intensities from 0 up; 0.5 for [-0.5, 0.5].
    window: 'uniform' (7x7, sample covariances) as scikit-image does by default, or 'gaussian'
      (11x11, sigma 1.5), as the authors of SSIM did.
  Returns:
    float32 [...], at most 1; equal to scikit-image's `structural_similarity` within 1e-5.
  Raises:
    ValueError: the shapes differ, the frames are smaller than the window, or no such window.
  Source: Wang et al. 2004, eq. 13.
  """
  _check_shapes(video, reference)
  weights, covariance_scale = _window(window)
  if min(video.shape[-3:-1]) < len(weights):
    raise ValueError(
      f'frames ({video.shape[-3]}x{video.shape[-2]}) must be at least as large as the {window} '
      f'SSIM window ({len(weights)}x{len(weights)}); use larger frames'
    )
  x, y = video.astype(jnp.float32), reference.astype(jnp.float32)
  # (Co)variances do not change with a shift, but float32 keeps more of them near zero.
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
  """Mean squared error in units of the data's variance.

  The paper's table 3 does not spell its NMSE out; its code divides the same error by 0.06, the
  variance of the pixels of BAIR, and that is what is computed here.

  Args:
    video, reference: float, of the same shape.
    variance: the variance of all pixels of the data set; that of `reference` if None.
  Returns:
    float32 scalar; 0 for equal videos, 1 for a constant one at the data's mean.
  Raises:
    ValueError: the shapes differ.
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
  """The separable window's weights and the factor that makes its covariances scikit-image's."""
  if name == 'uniform':
    n = _UNIFORM_WIDTH**2
    return np.full(_UNIFORM_WIDTH, 1 / _UNIFORM_WIDTH), n / (n - 1)
  if name == 'gaussian':
    weights = np.exp(
      -0.5 * (np.arange(-_GAUSSIAN_RADIUS, _GAUSSIAN_RADIUS + 1) / _GAUSSIAN_SIGMA) ** 2
    )
    return weights / weights.sum(), 1.0
  raise ValueError(f"window ({name!r}) must be 'uniform' or 'gaussian'")


def _filter(image: jax.Array, weights: np.ndarray) -> jax.Array:
  """Weighted means over the windows that lie inside the image: [... H W C] -> [... H' W' C]."""
  for axis in (-3, -2):
    n = image.shape[axis] - len(weights) + 1
    image = sum(
      weight * jax.lax.slice_in_dim(image, i, i + n, axis=image.ndim + axis)
      for i, weight in enumerate(weights.astype(np.float32))
    )
  return image


def _check_shapes(video: jax.Array, reference: jax.Array) -> None:
  if video.shape != reference.shape:
    raise ValueError(
      f'video {video.shape} and reference {reference.shape} must have the same shape; '
      'resize or crop one of them'
    )
