"""Convolutions of video as the published implementation computes them, and how they pad time.

Axis letters: B batch; T H W frames, height, width; I, O input and output channels.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models import cpu_convolution
from videogpt_jax.models.past import Past
from videogpt_jax.models.placement import constrain

Size3 = tuple[int, int, int]

Edges = tuple[int, int]
"""How far a layer sees along an axis, in steps of its finer side, before and after the `stride`
steps that belong to a step of its coarser side. The two add up to kernel size - stride."""


def uniform_fan_in(key: jax.Array, shape: Sequence[int], fan_in: int) -> jax.Array:
  """Returns float32 `shape`, uniform in +-1/sqrt(fan_in): PyTorch's default initialisation."""
  bound = fan_in**-0.5
  return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def same_edges(kernel_size: int, stride: int) -> Edges:
  """Sees as far back as ahead; the odd step goes before.

  Source: the published implementation, which differs here from XLA's 'SAME'.
  """
  total = kernel_size - stride
  return (total + 1) // 2, total // 2


def causal_edges(kernel_size: int, stride: int) -> Edges:
  """Sees nothing ahead."""
  return kernel_size - stride, 0


TIME_PADDINGS: dict[str, Callable[[int, int], Edges]] = {
  'same': same_edges,
  'causal': causal_edges,
  'none': causal_edges,
}
"""Padding along time by name, the values of `vqvae.time_padding`; space is padded with 'same'.

With 'none' a kernel is as long as its stride, so that latent frames share no frames.
"""


def kernel_shape(kernel_size: int, stride: Size3, time_padding: str) -> Size3:
  """Returns the size of a kernel along T, H, W; `time_padding` is a key of `TIME_PADDINGS`."""
  return stride[0] if time_padding == 'none' else kernel_size, kernel_size, kernel_size


def video_padding(kernel_size: Size3, stride: Size3, time: str = 'same') -> tuple[Edges, ...]:
  """Returns (before, after) along T, H, W; `time` is a key of `TIME_PADDINGS`."""
  rules = TIME_PADDINGS[time], same_edges, same_edges
  return tuple(rule(k, s) for rule, k, s in zip(rules, kernel_size, stride, strict=True))


def dense_conv3d(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves with stride 1 and no padding: x [B T H W I], kernel [kt kh kw I O].

  On CPU it is evaluated by `cpu_convolution`.
  """

  def whole(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (1, 1, 1),
      'VALID',
      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )

  return jax.lax.platform_dependent(x, kernel, cpu=cpu_convolution.convolve, default=whole)


def conv3d(
  x: jax.Array,
  kernel: jax.Array,
  stride: Size3,
  padding: Sequence[Edges],
):
  """Convolves; a strided convolution is evaluated as space-to-depth and a dense convolution.

  Both compute the same sum in a different order. On CPU, XLA's gradient of a strided convolution is
  a hundred times slower. The 3 input channels of a video become 24, which suits matrix units.

  Args:
    x: [B T H W I].
    kernel: [kt kh kw I O].
    stride: along T, H, W; each 1 or a divisor of the padded size.
    padding: zeros before and after along T, H, W.
  Returns:
    [B T' H' W' O], in x's dtype.
  """
  if kernel.shape[:3] == (1, 1, 1) and stride != (1, 1, 1):  # only selects positions
    st, sh, sw = stride
    x, stride = x[:, ::st, ::sh, ::sw], (1, 1, 1)
  st, sh, sw = stride
  # Zeros at the kernel's end make its size a multiple of the stride.
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


def conv3d_transpose(
  x: jax.Array, kernel: jax.Array, stride: Size3, padding: Sequence[Edges], n_past: int = 0
):
  """Up-samples by `stride`: a dense convolution of the padded input, then depth-to-space.

  Output s*i + j - after collects x[i] * kernel[j]: the adjoint of a convolution that is padded with
  (after, before). In a block of s outputs every phase reads the same inputs, so that one dense
  convolution with k/s taps computes all phases.

  Args:
    x: [B T H W I].
    kernel: [kt kh kw I O]; sizes are multiples of the stride.
    stride: up-sampling along T, H, W.
    padding: (before, after) along T, H, W, see `Edges`.
    n_past: the first frames of x that stand in for zeros before it; there is no output for them.
  Returns:
    [B (T-n_past)*st H*sh W*sw O], in x's dtype.
  """
  st, sh, sw = stride
  _, T, H, W, _ = x.shape
  T -= n_past
  ahead = [after for _, after in padding]
  edges = [
    (k // s - 1 - a // s, -(-a // s), 0)
    for k, s, a in zip(kernel.shape[:3], stride, ahead, strict=True)
  ]
  edges[0] = edges[0][0] - n_past, *edges[0][1:]
  x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
  taps = rearrange(kernel, '(t a) (h b) (w c) I O -> t h w I (a b c O)', a=st, b=sh, c=sw)
  y = dense_conv3d(x, taps[::-1, ::-1, ::-1])
  y = rearrange(y, 'B T H W (a b c O) -> B (T a) (H b) (W c) O', a=st, b=sh, c=sw)
  t, h, w = (a % s for a, s in zip(ahead, stride, strict=True))
  return y[:, t : t + T * st, h : h + H * sh, w : w + W * sw]


class Conv3D(nnx.Module):
  """A convolution that divides the size by `stride`.

  Args:
    padding: zeros before and after each axis; by default those of `video_padding`.
    time_padding: a key of `TIME_PADDINGS`, if `padding` is not given.
    first_alone: whether the first frame has a step of the output alone, as if zeros had filled up
      its stride: T = 1 + stride n gives 1 + n.
  """

  def __init__(
    self,
    n_in: int,
    n_out: int,
    kernel_size: int,
    *,
    stride: Size3 = (1, 1, 1),
    padding: Sequence[Edges] | None = None,
    time_padding: str = 'same',
    first_alone: bool = False,
    use_bias: bool = True,
    rngs: nnx.Rngs,
  ):
    size = kernel_shape(kernel_size, stride, time_padding)
    fan_in = n_in * math.prod(size)
    self.stride, self.fill = stride, stride[0] - 1 if first_alone else 0
    self.padding = tuple(padding or video_padding(size, stride, time_padding))
    self.kernel = nnx.Param(uniform_fan_in(rngs.params(), (*size, n_in, n_out), fan_in))
    if use_bias:
      self.bias = nnx.Param(uniform_fan_in(rngs.params(), (n_out,), fan_in))
    self.use_bias = use_bias

  def __call__(self, x: jax.Array, past: Past | None = None) -> jax.Array:
    """Convolves a video [B T H W I], or the next piece of one; see `Past`."""
    time, *space = self.padding
    if self.fill and (past is None or past.first):
      x = jnp.pad(x, [(0, 0), (self.fill, 0), (0, 0), (0, 0), (0, 0)])
    if past is not None:
      x, time = past.before(x, time[0]), (0, time[1])
    y = conv3d(x, self.kernel[...].astype(x.dtype), self.stride, (time, *space))
    y = constrain(y, 'B T H W O')
    return y + self.bias[...].astype(x.dtype) if self.use_bias else y


class ConvTranspose3D(nnx.Module):
  """A transposed convolution that multiplies the size by `stride`.

  Args:
    time_padding: a key of `TIME_PADDINGS`.
    first_alone: whether the first step of the input makes one frame alone: 1 + n steps make
      1 + stride n frames.
  """

  def __init__(
    self,
    n_in: int,
    n_out: int,
    kernel_size: int,
    *,
    stride: Size3,
    time_padding: str = 'same',
    first_alone: bool = False,
    rngs: nnx.Rngs,
  ):
    size = kernel_shape(kernel_size, stride, time_padding)
    self.fill = stride[0] - 1 if first_alone else 0
    fan_in = n_out * math.prod(size)  # PyTorch counts the output channels here
    self.stride, self.padding = stride, video_padding(size, stride, time_padding)
    self.kernel = nnx.Param(uniform_fan_in(rngs.params(), (*size, n_in, n_out), fan_in))
    self.bias = nnx.Param(uniform_fan_in(rngs.params(), (n_out,), fan_in))

  def __call__(self, x: jax.Array, past: Past | None = None) -> jax.Array:
    """Up-samples a video [B T H W I], or the next piece of one; see `Past`."""
    n_past = 0
    if past is not None:
      n_past = self.kernel.shape[0] // self.stride[0] - 1
      x = past.before(x, n_past)
    y = conv3d_transpose(x, self.kernel[...].astype(x.dtype), self.stride, self.padding, n_past)
    if self.fill and (past is None or past.first):
      y = y[:, self.fill :]
    return constrain(y, 'B T H W O') + self.bias[...].astype(x.dtype)
