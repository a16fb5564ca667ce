"""The VQ-VAE: video to a small grid of discrete codes and back.

Axis letters: B batch; T H W frames, height, width; t h w latent grid; C n_hiddens; E embedding_dim.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.models.attention.axial import AxialAttention
from videogpt_jax.models.convolutions import Conv3D, ConvTranspose3D
from videogpt_jax.models.layers import PositionEmbedding
from videogpt_jax.models.past import Past
from videogpt_jax.models.quantizers import QUANTIZERS, Quantized
from videogpt_jax.models.video_norms import VIDEO_NORMS
from videogpt_jax.models.vqvae_config import VQVAEConfig


class VQVAEOutput(NamedTuple):
  """All that training needs: reconstruction float32 [B T H W 3], z [B t h w E], codes, and the
  features that the decoder's last convolution turns into the reconstruction."""

  reconstruction: jax.Array
  z: jax.Array
  quantized: Quantized
  features: jax.Array


class ResidualBlock(nnx.Module):
  """Norm, ReLU and convolution, twice; then norm, ReLU and axial attention, if configured."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    C, inner = config.n_hiddens, config.residual_units
    norm, time = VIDEO_NORMS[config.norm], config.time_padding
    self.norm1 = norm(C)
    self.conv1 = Conv3D(C, inner, 3, time_padding=time, use_bias=False, rngs=rngs)
    self.norm2 = norm(inner)
    self.conv2 = Conv3D(inner, C, 1, use_bias=False, rngs=rngs)
    self.axial_attention = config.axial_attention
    if config.axial_attention:
      self.norm3 = norm(C)
      mask = config.time_mask, config.time_window
      self.attention = AxialAttention(C, config.n_heads, *mask, rngs=rngs)

  def __call__(
    self,
    x: jax.Array,
    train: bool,
    positions: jax.Array | None = None,
    past: Past | None = None,
  ) -> jax.Array:
    h = self.conv1(nnx.relu(self.norm1(x, train)), past)
    h = self.conv2(nnx.relu(self.norm2(h, train)))
    if self.axial_attention:
      h = nnx.relu(self.norm3(h, train))
      h = self.attention(h if positions is None else h + positions.astype(h.dtype), past)
    return x + h


class ResidualStack(nnx.Module):
  """`n_res_layers` residual blocks, a norm and a ReLU."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    self.blocks = nnx.List([ResidualBlock(config, rngs=rngs) for _ in range(config.n_res_layers)])
    self.norm = VIDEO_NORMS[config.norm](config.n_hiddens)

  def __call__(
    self,
    x: jax.Array,
    train: bool,
    positions: jax.Array | None = None,
    past: Past | None = None,
  ) -> jax.Array:
    for block in self.blocks:
      x = block(x, train, positions, past)
    return nnx.relu(self.norm(x, train))


class Encoder(nnx.Module):
  """Strided convolutions, then residual blocks: [B T H W 3] -> [B t h w C]."""

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    C, time, alone = config.n_hiddens, config.time_padding, config.first_frame_alone
    self.convs = nnx.List(
      [
        Conv3D(C if i else 3, C, 4, stride=stride, time_padding=time, first_alone=alone, rngs=rngs)
        for i, stride in enumerate(config.strides())
      ]
    )
    self.conv_last = Conv3D(C, C, 3, time_padding=time, rngs=rngs)
    self.res_stack = ResidualStack(config, rngs=rngs)

  def __call__(
    self,
    x: jax.Array,
    train: bool,
    positions: jax.Array | None = None,
    past: Past | None = None,
  ) -> jax.Array:
    for conv in self.convs:
      x = nnx.relu(conv(x, past))
    return self.res_stack(self.conv_last(x, past), train, positions, past)


class Decoder(nnx.Module):
  """Residual blocks, then transposed convolutions: [B t h w C] -> [B T H W 3].

  It has two halves, `last` after `features`.
  """

  def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs):
    C, strides, time = config.n_hiddens, config.strides(), config.time_padding
    alone = config.first_frame_alone
    widths = [C] * (len(strides) - 1) + [3]
    self.res_stack = ResidualStack(config, rngs=rngs)
    self.convts = nnx.List(
      [
        ConvTranspose3D(C, n_out, 4, stride=stride, time_padding=time, first_alone=alone, rngs=rngs)
        for n_out, stride in zip(widths, strides, strict=True)
      ]
    )

  def features(
    self,
    x: jax.Array,
    train: bool,
    positions: jax.Array | None = None,
    past: Past | None = None,
  ) -> jax.Array:
    """Returns what the last convolution takes."""
    x = self.res_stack(x, train, positions, past)
    for convt in self.convts[:-1]:
      x = nnx.relu(convt(x, past))
    return x

  @property
  def last(self) -> ConvTranspose3D:
    """The convolution to pixels."""
    return self.convts[-1]


class VQVAE(nnx.Module):
  """A 3-D VQ-VAE with axial attention.

  Args:
    config: its sizes.
    grid: (t, h, w) of the clips that it is for; only position embeddings need it.

  Source: VideoGPT (arXiv 2104.10157), section 3.1 and table 8.
  """

  def __init__(self, config: VQVAEConfig, grid: Sequence[int] | None = None, *, rngs: nnx.Rngs):
    self.config = config
    self.encoder = Encoder(config, rngs=rngs)
    self.pre_vq_conv = Conv3D(config.n_hiddens, config.embedding_dim, 1, rngs=rngs)
    self.codebook = QUANTIZERS[config.quantizer](config.codebook, rngs=rngs)
    self.post_vq_conv = Conv3D(
      config.embedding_dim,
      config.n_hiddens,
      config.post_vq_kernel,
      time_padding=config.time_padding,
      rngs=rngs,
    )
    self.decoder = Decoder(config, rngs=rngs)
    if config.axial_positions:
      assert grid is not None, 'position embeddings need the grid'
      self.positions = PositionEmbedding(grid[:3], config.n_hiddens, rngs=rngs)

  def latents(self, video: jax.Array, train: bool = False, past: Past | None = None) -> jax.Array:
    """Returns z, [B t h w E], of video [B T H W 3] in [-0.5, 0.5]; `past`: see `encode`."""
    positions = None
    if self.config.axial_positions:
      _, T, *size, _ = video.shape
      positions = self._positions(self.config.latent_shape(T, tuple(size))[:3])
    return self.pre_vq_conv(self.encoder(video.astype(self.config.dtype), train, positions, past))

  def encode(self, video: jax.Array, past: Past | None = None) -> jax.Array:
    """Returns the codes, int32 [B t h w], of a video or of a piece of one.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
      past: what the layers keep of the frames before this piece, see `Past`; None for all of a
        video.
    """
    return self.codebook.nearest(self.latents(video, past=past))

  def decode(self, codes: jax.Array, past: Past | None = None) -> jax.Array:
    """Returns video, float32 [B T H W 3], not clipped, of codes int32 [B t h w]; see `encode`."""
    embeddings = self.codebook.lookup(codes).reshape(*codes.shape[:4], -1)
    features = self._features(embeddings, train=False, past=past)
    return self.decoder.last(features, past).astype(jnp.float32)

  def __call__(self, video: jax.Array, key: jax.Array | None = None) -> VQVAEOutput:
    """Encodes, quantises and reconstructs.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
      key: given in training only: norms then use the batch's statistics, and the running averages
        and the quantizer learn from the batch.
    """
    train = key is not None
    z = self.latents(video, train)
    quantized = self.codebook(z, key)
    features = self._features(quantized.embeddings, train)
    reconstruction = self.decoder.last(features).astype(jnp.float32)
    return VQVAEOutput(reconstruction, z, quantized, features)

  def _features(self, embeddings: jax.Array, train: bool, past: Past | None = None) -> jax.Array:
    h = self.post_vq_conv(embeddings.astype(self.config.dtype), past)
    return self.decoder.features(h, train, self._positions(h.shape[1:4]), past)

  def _positions(self, grid: tuple[int, ...]) -> jax.Array | None:
    """Returns the position embeddings [t h w C] of a grid, the first ones of a smaller grid.

    Raises:
      UserError: the grid is larger than the one that the VQ-VAE is for.
    """
    if not self.config.axial_positions:
      return None
    whole = self.positions()
    if any(n > most for n, most in zip(grid, whole.shape[:3], strict=True)):
      raise UserError(
        f'this VQ-VAE has position embeddings for a latent grid of {whole.shape[:3]}, and the clip '
        f'has {grid}; cut the clip'
      )
    t, h, w = grid
    return whole[:t, :h, :w]
