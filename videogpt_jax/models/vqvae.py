"""The VQ-VAE: video to a small grid of discrete codes and back.

Axis letters: B batch; T H W frames, height, width; t h w latent grid; C n_hiddens; N heads;
d head size; R lines along an axis, i, j positions on one; E embedding_dim.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.models.codebook import Codebook, Quantized
from videogpt_jax.models.layers import (
  DTYPES,
  BatchNorm,
  Conv3D,
  ConvTranspose3D,
  Linear,
  Size3,
  product_of_rows,
)
from videogpt_jax.models.placement import constrain, on_one_cpu


@dataclasses.dataclass(frozen=True)
class VQVAEConfig:
  """Sizes of a VQ-VAE; the defaults are the published code's.

  Attributes:
    downsample: factors along time, height and width; powers of two.
    axial_attention: False leaves the attention out of the residual blocks (table 3).
    n_codebooks: the embedding is split into as many groups, each with its own codes (table 7).
    dtype: of activations and products, 'float32' or 'bfloat16'; parameters are float32.
  """

  embedding_dim: int = 256
  n_codes: int = 2048
  n_codebooks: int = 1
  n_hiddens: int = 240
  n_res_layers: int = 4
  downsample: Size3 = (4, 4, 4)
  axial_attention: bool = True
  n_heads: int = 2
  dtype: str = 'float32'

  def __post_init__(self):
    for name in ('embedding_dim', 'n_codes', 'n_codebooks', 'n_hiddens', 'n_res_layers', 'n_heads'):
      if getattr(self, name) < 1:
        raise ValueError(f'vqvae.{name} ({getattr(self, name)}) must be at least 1')
    if self.dtype not in DTYPES:
      raise ValueError(f'vqvae.dtype {self.dtype!r} is not one of {DTYPES}')
    bad = [f for f in self.downsample if f < 1 or f & (f - 1)]
    if len(self.downsample) != 3 or bad or max(self.downsample) == 1:
      raise ValueError(
        f'vqvae.downsample {self.downsample} must be three powers of two (time, height, width), '
        'not all 1; for example (4, 4, 4)'
      )
    if self.n_hiddens % (2 * self.n_heads):
      raise ValueError(
        f'vqvae.n_hiddens ({self.n_hiddens}) must be divisible by 2 * n_heads ({2 * self.n_heads})'
      )
    if self.embedding_dim % self.n_codebooks:
      raise ValueError(
        f'vqvae.embedding_dim ({self.embedding_dim}) must be divisible by n_codebooks '
        f'({self.n_codebooks})'
      )

  def latent_shape(self, sequence_length: int, resolution: int) -> tuple[int, ...]:
    """Returns (t, h, w), or (t, h, w, n_codebooks) with several codebooks.

    Raises:
      ValueError: a size is not divisible by its down-sampling.
    """
    sizes = {'sequence_length': (sequence_length, 0), 'resolution': (resolution, 1)}
    for name, (size, axis) in sizes.items():
      factor = max(self.downsample[axis:]) if axis else self.downsample[0]
      if size % factor:
        lower = size // factor * factor
        options = f'{lower} or {lower + factor}' if lower else f'{factor}'
        raise ValueError(
          f'{name} ({size}) must be divisible by downsample ({factor}); use {options}'
        )
    grid = tuple(
      size // factor
      for size, factor in zip(
        (sequence_length, resolution, resolution), self.downsample, strict=True
      )
    )
    return grid if self.n_codebooks == 1 else (*grid, self.n_codebooks)

  def strides(self) -> list[Size3]:
    """Returns the stride of each down-sampling convolution: 2 on an axis until it is done."""
    halvings = [int(math.log2(factor)) for factor in self.downsample]
    return [tuple(2 if n > i else 1 for n in halvings) for i in range(max(halvings))]


class VQVAEOutput(NamedTuple):
  """What training looks at: the reconstruction, float32 [B T H W 3], z [B t h w E], and codes."""

  reconstruction: jax.Array
  z: jax.Array
  quantized: Quantized


class AxisAttention(nnx.Module):
  """Multi-head attention along one axis of a grid (1 time, 2 height, 3 width).

  The axis is moved once each way, and none for the width. Heads are apart in the kernels, where
  that costs nothing, and not in the activations: so neither the products nor their gradients need
  their operands transposed.
  """

  def __init__(self, n_channels: int, n_heads: int, axis: int, *, rngs: nnx.Rngs):
    def linear(use_bias=False):
      return Linear(n_channels, n_channels, stddev=n_channels**-0.5, use_bias=use_bias, rngs=rngs)

    self.axis, self.n_heads = axis, n_heads
    self.query, self.key, self.value, self.out = linear(), linear(), linear(), linear(True)

  def __call__(self, x: jax.Array) -> jax.Array:
    """[B t h w C] -> [B t h w C]."""
    x = jnp.moveaxis(x, self.axis, 3)
    # A TPU's compiler moves a fifth more where axes are made one (docs/attention.md).
    lines = x.reshape(-1, *x.shape[3:]) if on_one_cpu() else x
    y = self.out.bias[...].astype(x.dtype)
    for query, key, value, out in zip(*self._kernels_of_heads(x.dtype), strict=True):
      q, k, v = (product_of_rows(lines, kernel) for kernel in (query, key, value))
      y = y + product_of_rows(_attend(q, k, v), out)
    return jnp.moveaxis(y.reshape(x.shape), 3, self.axis)

  def _kernels_of_heads(self, dtype: jnp.dtype) -> Iterator[list[jax.Array]]:
    """Yields kernels by head: N of queries, keys and values, [C d], then of the output, [d C]."""
    for part, axis in ((self.query, 1), (self.key, 1), (self.value, 1), (self.out, 0)):
      whole = constrain(part.kernel[...].astype(dtype), 'i o')  # before it is cut
      yield jnp.split(whole, self.n_heads, axis)


def _attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """One head's attention along each line, [... i d]; softmax in float32."""
  scores = jnp.einsum('...id,...jd->...ij', q, k, preferred_element_type=jnp.float32)
  weights = jax.nn.softmax(scores * q.shape[-1] ** -0.5, axis=-1).astype(v.dtype)
  return jnp.einsum('...ij,...jd->...id', weights, v)


class AxialAttention(nnx.Module):
  """The sum of attention along width, height and time, each with its own projections."""

  def __init__(self, n_channels: int, n_heads: int, *, rngs: nnx.Rngs):
    self.attn_w = AxisAttention(n_channels, n_heads, 3, rngs=rngs)
    self.attn_h = AxisAttention(n_channels, n_heads, 2, rngs=rngs)
    self.attn_t = AxisAttention(n_channels, n_heads, 1, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.attn_w(x) + self.attn_h(x) + self.attn_t(x)


class ResidualBlock(nnx.Module):
  """Norm, ReLU and convolution twice, then (if asked for) once more with axial attention."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    C = config.n_hiddens
    self.norm1 = BatchNorm(C)
    self.conv1 = Conv3D(C, C // 2, 3, use_bias=False, rngs=rngs)
    self.norm2 = BatchNorm(C // 2)
    self.conv2 = Conv3D(C // 2, C, 1, use_bias=False, rngs=rngs)
    self.axial_attention = config.axial_attention
    if config.axial_attention:
      self.norm3 = BatchNorm(C)
      self.attention = AxialAttention(C, config.n_heads, rngs=rngs)

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    h = self.conv1(nnx.relu(self.norm1(x, train)))
    h = self.conv2(nnx.relu(self.norm2(h, train)))
    if self.axial_attention:
      h = self.attention(nnx.relu(self.norm3(h, train)))
    return x + h


class ResidualStack(nnx.Module):
  """`n_res_layers` residual blocks, a norm and a ReLU."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    self.blocks = nnx.List([ResidualBlock(config, rngs=rngs) for _ in range(config.n_res_layers)])
    self.norm = BatchNorm(config.n_hiddens)

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    for block in self.blocks:
      x = block(x, train)
    return nnx.relu(self.norm(x, train))


class Encoder(nnx.Module):
  """Strided convolutions, then residual blocks: [B T H W 3] -> [B t h w C]."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    C = config.n_hiddens
    self.convs = nnx.List(
      [
        Conv3D(C if i else 3, C, 4, stride=stride, rngs=rngs)
        for i, stride in enumerate(config.strides())
      ]
    )
    self.conv_last = Conv3D(C, C, 3, rngs=rngs)
    self.res_stack = ResidualStack(config, rngs=rngs)

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    for conv in self.convs:
      x = nnx.relu(conv(x))
    return self.res_stack(self.conv_last(x), train)


class Decoder(nnx.Module):
  """Residual blocks, then transposed convolutions: [B t h w C] -> [B T H W 3]."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    C, strides = config.n_hiddens, config.strides()
    self.res_stack = ResidualStack(config, rngs=rngs)
    self.convts = nnx.List(
      [
        ConvTranspose3D(C, 3 if i == len(strides) - 1 else C, 4, stride=stride, rngs=rngs)
        for i, stride in enumerate(strides)
      ]
    )

  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    x = self.res_stack(x, train)
    for convt in self.convts[:-1]:
      x = nnx.relu(convt(x))
    return self.convts[-1](x)


class VQVAE(nnx.Module):
  """A 3-D VQ-VAE with axial attention.

  Source: VideoGPT (arXiv 2104.10157), section 3.1 and table 8.
  """

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.encoder = Encoder(config, rngs=rngs)
    self.pre_vq_conv = Conv3D(config.n_hiddens, config.embedding_dim, 1, rngs=rngs)
    self.codebook = Codebook(config.n_codes, config.embedding_dim, config.n_codebooks, rngs=rngs)
    self.post_vq_conv = Conv3D(config.embedding_dim, config.n_hiddens, 1, rngs=rngs)
    self.decoder = Decoder(config, rngs=rngs)

  def latents(self, video: jax.Array, train: bool = False) -> jax.Array:
    """Returns z, [B t h w E], of video [B T H W 3] in [-0.5, 0.5]."""
    return self.pre_vq_conv(self.encoder(video.astype(self.config.dtype), train))

  def encode(self, video: jax.Array) -> jax.Array:
    """Returns the codes, int32 [B t h w], of video float32 [B T H W 3] in [-0.5, 0.5]."""
    return self.codebook.nearest(self.latents(video))

  def decode(self, codes: jax.Array) -> jax.Array:
    """Returns video, float32 [B T H W 3], not clipped, of codes int32 [B t h w]."""
    embeddings = self.codebook.lookup(codes)
    return self._reconstruct(embeddings.reshape(*codes.shape[:4], -1), train=False)

  def __call__(self, video: jax.Array, key: jax.Array | None = None) -> VQVAEOutput:
    """Encodes, quantises and reconstructs.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
      key: given in training: norms then use the batch's statistics, and they and the codebook
        learn from it.
    """
    train = key is not None
    z = self.latents(video, train)
    quantized = self.codebook(z, key)
    return VQVAEOutput(self._reconstruct(quantized.embeddings, train), z, quantized)

  def _reconstruct(self, embeddings: jax.Array, train: bool) -> jax.Array:
    h = self.post_vq_conv(embeddings.astype(self.config.dtype))
    return self.decoder(h, train).astype(jnp.float32)
