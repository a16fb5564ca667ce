"""Convolutions on CPU, in the form that XLA runs fastest there.

XLA's own convolution is slow on CPU in two cases. Where outputs have far fewer channels than
inputs, a matrix product with all taps, shifted and added, takes half the time or less. The gradient
of a kernel of few taps takes a third as a matrix product (docs/training.md has the times).

Axis letters: B batch; T H W frames, height, width; I, O input and output channels; t h w taps.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from einops import rearrange

NARROW = 4
"""Outputs with so many times fewer channels than inputs are multiplied first and then shifted."""

FEW_TAPS = 9
"""Taps of a kernel, at most, whose gradient is one matrix product for each of its frames."""


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves with stride 1 and no padding: x [B T H W I], kernel [t h w I O]."""
  *_, n_in, n_out = kernel.shape
  return _multiply_and_shift(x, kernel) if NARROW * n_out <= n_in else _by_frames(x, kernel)


def _forward(x, kernel):
  return convolve(x, kernel), (x, kernel)


def _backward(kept, slope):
  x, kernel = kept
  to_x, to_kernel = jax.vjp(_by_frames, x, kernel)[1](slope)
  few = math.prod(kernel.shape[:3]) <= FEW_TAPS
  return to_x, _of_kernel(x, slope, kernel.shape) if few else to_kernel


convolve.defvjp(_forward, _backward)


def _by_frames(x, kernel):
  """A sum over time of 2-D convolutions, for which XLA has faster code."""
  T = x.shape[1] - kernel.shape[0] + 1
  frames = [
    jax.lax.conv_general_dilated(
      rearrange(x[:, t : t + T], 'B T H W I -> (B T) H W I'),
      taps,
      (1, 1),
      'VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    for t, taps in enumerate(kernel)
  ]
  return rearrange(sum(frames), '(B T) H W O -> B T H W O', T=T)


def _multiply_and_shift(x, kernel):
  """One matrix product with all taps, and a sum of its shifted parts along each axis."""
  t, h, w, _, _ = kernel.shape
  y = x @ rearrange(kernel, 't h w I O -> I (t h w O)')
  y = rearrange(y, 'B T H W (t h w O) -> B T H W t h w O', t=t, h=h, w=w)
  for axis, taps in enumerate((t, h, w), start=1):
    n = y.shape[axis] - taps + 1
    parts = [jax.lax.slice_in_dim(y[:, :, :, :, a], a, a + n, axis=axis) for a in range(taps)]
    y = sum(parts[1:], parts[0])
  return y


def _of_kernel(x, slope, shape):
  """The kernel's gradient [t h w I O]: the side with fewer channels is unfolded, tap by tap."""
  t, h, w, n_in, n_out = shape
  if n_in <= n_out:
    T = slope.shape[1]
    taps = _unfold(x, h, w)
    each = [_product(taps[:, a : a + T], slope) for a in range(t)]
    return rearrange(jnp.stack(each), 't (h w I) O -> t h w I O', h=h, w=w)
  T = x.shape[1]
  around = [(0, 0), *((n - 1, n - 1) for n in (t, h, w)), (0, 0)]
  taps = _unfold(jnp.pad(slope, around), h, w)
  each = [_product(x, taps[:, a : a + T]) for a in range(t)]
  return rearrange(jnp.stack(each), 't I (h w O) -> t h w I O', h=h, w=w)[::-1, ::-1, ::-1]


def _unfold(x, h, w):
  """Places the h x w neighbours of every position side by side: [B T H-h+1 W-w+1 (h w C)]."""
  H, W = x.shape[2] - h + 1, x.shape[3] - w + 1
  parts = [x[:, :, a : a + H, b : b + W] for a, b in itertools.product(range(h), range(w))]
  return jnp.concatenate(parts, axis=-1)


def _product(a, b):
  """[N A], [N B] -> [A B]."""
  return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])
