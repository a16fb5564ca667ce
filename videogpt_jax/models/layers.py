"""Convolutions, batch norm and linear layers as the published implementation computes them.

Axis letters: B batch; T H W frames, height, width; I, O input and output channels.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.attention.dropout import Dropout
from videogpt_jax.models.placement import constrain, on_one_cpu

Size3 = tuple[int, int, int]

DTYPES = ('float32', 'bfloat16')
"""Of activations and products; parameters are always float32."""


def uniform_fan_in(key: jax.Array, shape: Sequence[int], fan_in: int) -> jax.Array:
  """Returns float32 `shape`, uniform in +-1/sqrt(fan_in): PyTorch's default for layers."""
  bound = fan_in**-0.5
  return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def same_padding(kernel_size: Size3, stride: Size3) -> list[tuple[int, int]]:
  """Returns (before, after) an axis so that the output is input / stride; the odd one goes before.

  Source: the published implementation, which differs here from XLA's 'SAME'.
  """
  totals = [k - s for k, s in zip(kernel_size, stride, strict=True)]
  return [((total + 1) // 2, total // 2) for total in totals]


def dense_conv3d(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves with stride 1 and no padding: x [B T H W I], kernel [kt kh kw I O].

  On CPU it is a sum over time of 2-D convolutions, which XLA has faster code for.
  """

  def whole(x, kernel):
    return jax.lax.conv_general_dilated(
      x, kernel, (1, 1, 1), 'VALID', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )

  def by_frames(x, kernel):
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

  return jax.lax.platform_dependent(x, kernel, cpu=by_frames, default=whole)


def conv3d(x: jax.Array, kernel: jax.Array, stride: Size3, padding: Sequence[tuple[int, int]]):
  """Convolves, evaluating a strided convolution as space-to-depth and a dense one.

  The two are the same sum in another order. XLA's gradient of a strided convolution is a hundred
  times slower on CPU, and the 3 input channels of a video become 24, which suits matrix units.

  Args:
    x: [B T H W I].
    kernel: [kt kh kw I O].
    stride: steps along T, H, W; each 1 or a divisor of the padded size.
    padding: zeros before and after along T, H, W.
  Returns:
    [B T' H' W' O], in x's dtype.
  """
  if kernel.shape[:3] == (1, 1, 1) and stride != (1, 1, 1):  # nothing but a choice of positions
    st, sh, sw = stride
    x, stride = x[:, ::st, ::sh, ::sw], (1, 1, 1)
  st, sh, sw = stride
  # The kernel becomes a multiple of the stride, by zeros at its end.
  fill = [(0, -k % s) for k, s in zip(kernel.shape[:3], stride, strict=True)]
  kernel = jnp.pad(kernel, [*fill, (0, 0), (0, 0)])
  after = [
    (lo + n + hi - (k - extra)) // s * s + k - n - lo
    for n, k, s, (lo, hi), (_, extra) in zip(
      x.shape[1:4], kernel.shape[:3], stride, padding, fill, strict=True
    )
  ]
  edges = [(lo, hi, 0) for (lo, _), hi in zip(padding, after, strict=True)]
  x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
  if stride != (1, 1, 1):
    x = rearrange(x, 'B (T a) (H b) (W c) I -> B T H W (a b c I)', a=st, b=sh, c=sw)
    kernel = rearrange(kernel, '(t a) (h b) (w c) I O -> t h w (a b c I) O', a=st, b=sh, c=sw)
  return dense_conv3d(x, kernel)


def conv3d_transpose(x: jax.Array, kernel: jax.Array, stride: Size3):
  """Up-samples by `stride`: the dense convolution of the padded input, then depth-to-space.

  Output f = s*i + j collects x[i] * kernel[j]; within a block of s outputs every phase reads the
  same inputs, so that one dense convolution with k/s taps computes all phases. The input is
  padded as for a convolution and kernel_size - 1 outputs are cropped from either end.

  Args:
    x: [B T H W I].
    kernel: [kt kh kw I O]; sizes are multiples of the stride.
    stride: up-sampling along T, H, W.
  Returns:
    [B T*st H*sh W*sw O], in x's dtype.
  """
  st, sh, sw = stride
  _, T, H, W, _ = x.shape
  edges = [(lo, hi, 0) for lo, hi in same_padding(kernel.shape[:3], stride)]
  x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
  taps = rearrange(kernel, '(t a) (h b) (w c) I O -> t h w I (a b c O)', a=st, b=sh, c=sw)
  y = dense_conv3d(x, taps[::-1, ::-1, ::-1])
  y = rearrange(y, 'B T H W (a b c O) -> B (T a) (H b) (W c) O', a=st, b=sh, c=sw)
  return y[:, st - 1 :, sh - 1 :, sw - 1 :][:, : T * st, : H * sh, : W * sw]


class Conv3D(nnx.Module):
  """A convolution that keeps size / stride.

  Args:
    padding: zeros before and after an axis; by default those of `same_padding`.
  """

  def __init__(
    self,
    n_in: int,
    n_out: int,
    kernel_size: int,
    *,
    stride: Size3 = (1, 1, 1),
    padding: Sequence[tuple[int, int]] | None = None,
    use_bias: bool = True,
    rngs: nnx.Rngs,
  ):
    size = (kernel_size,) * 3
    fan_in = n_in * kernel_size**3
    self.stride = stride
    self.padding = tuple(same_padding(size, stride) if padding is None else padding)
    self.kernel = nnx.Param(uniform_fan_in(rngs.params(), (*size, n_in, n_out), fan_in))
    if use_bias:
      self.bias = nnx.Param(uniform_fan_in(rngs.params(), (n_out,), fan_in))
    self.use_bias = use_bias

  def __call__(self, x: jax.Array) -> jax.Array:
    y = conv3d(x, self.kernel[...].astype(x.dtype), self.stride, self.padding)
    y = constrain(y, 'B T H W O')
    return y + self.bias[...].astype(x.dtype) if self.use_bias else y


class ConvTranspose3D(nnx.Module):
  """A transposed convolution that multiplies the size by `stride`."""

  def __init__(self, n_in: int, n_out: int, kernel_size: int, *, stride: Size3, rngs: nnx.Rngs):
    size = (kernel_size,) * 3
    fan_in = n_out * kernel_size**3  # PyTorch counts the output channels here
    self.stride = stride
    self.kernel = nnx.Param(uniform_fan_in(rngs.params(), (*size, n_in, n_out), fan_in))
    self.bias = nnx.Param(uniform_fan_in(rngs.params(), (n_out,), fan_in))

  def __call__(self, x: jax.Array) -> jax.Array:
    y = conv3d_transpose(x, self.kernel[...].astype(x.dtype), self.stride)
    return constrain(y, 'B T H W O') + self.bias[...].astype(x.dtype)


class BatchNorm(nnx.Module):
  """Batch norm over all axes but the last, statistics in float32.

  Under `jit` the batch is the global one, so the statistics are too. The running averages move by
  `MOMENTUM` and the running variance is the unbiased one, as in PyTorch.
  """

  EPSILON = 1e-5
  MOMENTUM = 0.1

  def __init__(self, n_channels: int):
    self.scale = nnx.Param(jnp.ones(n_channels))
    self.bias = nnx.Param(jnp.zeros(n_channels))
    self.mean = nnx.BatchStat(jnp.zeros(n_channels))
    self.var = nnx.BatchStat(jnp.ones(n_channels))

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    mean, var = self.mean[...], self.var[...]
    if train:
      axes = tuple(range(x.ndim - 1))
      x32 = x.astype(jnp.float32)
      mean, var = jnp.mean(x32, axes), jnp.var(x32, axes)
      n = x.size // x.shape[-1]
      self.mean[...] += self.MOMENTUM * (mean - self.mean[...])
      self.var[...] += self.MOMENTUM * (var * n / (n - 1) - self.var[...])
    gain = self.scale[...] * jax.lax.rsqrt(var + self.EPSILON)
    return (x * gain + (self.bias[...] - mean * gain)).astype(x.dtype)


def product_of_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns x [... I] @ kernel [I O], on a CPU with all positions as the rows of one matrix.

  The kernel's gradient then sums over one axis: over several, XLA's CPU compiler transposes x
  before, which takes as long as the product.
  """
  if not on_one_cpu():
    return x @ kernel
  return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


class Linear(nnx.Module):
  """`x @ kernel + bias`, in x's dtype; the kernel [n_in n_out] starts normal with `stddev`."""

  def __init__(
    self, n_in: int, n_out: int, *, stddev: float, use_bias: bool = True, rngs: nnx.Rngs
  ):
    self.kernel = nnx.Param(stddev * jax.random.normal(rngs.params(), (n_in, n_out)))
    if use_bias:
      self.bias = nnx.Param(jnp.zeros(n_out))
    self.use_bias = use_bias

  def __call__(self, x: jax.Array) -> jax.Array:
    y = product_of_rows(x, self.kernel[...].astype(x.dtype))
    return y + self.bias[...].astype(x.dtype) if self.use_bias else y


class PositionEmbedding(nnx.Module):
  """One learnt table for each axis of a grid, concatenated over channels.

  The published code demands channels divisible by the number of axes; here the first axes get one
  more where they are not (the paper's own 512 and 1024 are not divisible by 3).

  Args:
    grid: the sizes of the axes.
    n_channels: to be shared out among the axes.
  """

  def __init__(self, grid: Sequence[int], n_channels: int, *, rngs: nnx.Rngs):
    share, rest = divmod(n_channels, len(grid))
    self.tables = nnx.List(
      [
        nnx.Param(0.01 * jax.random.normal(rngs.params(), (size, share + (axis < rest))))
        for axis, size in enumerate(grid)
      ]
    )

  def __call__(self) -> jax.Array:
    """Returns float32 [*grid n_channels]."""
    grid = tuple(table.shape[0] for table in self.tables)
    columns = [
      jnp.broadcast_to(
        table[...].reshape(*(n if a == axis else 1 for a, n in enumerate(grid)), -1),
        (*grid, table.shape[1]),
      )
      for axis, table in enumerate(self.tables)
    ]
    return jnp.concatenate(columns, axis=-1)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
  """Zeroes entries with probability `rate` and scales the others up; does nothing without a key.

  Args:
    x: [B L D].
    rate: the probability to be dropped.
    key: what is dropped follows from it.
  """
  if key is None or rate == 0:
    return x
  # As for attention weights; JAX's own random bits would take as long as a product of the block.
  places = Dropout(rate, jax.random.bits(key, x.shape[:1], jnp.uint32))
  keep = places.keep(jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[2]))
  return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))
