"""A trained VQ-VAE: video to codes and back.

Every method is compiled once for each shape that it is called with.

Axis letters: B batch; T H W frames, height, width; t h w latent grid; K n_codes; E embedding_dim.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from videogpt_jax.models.prior import CodeSpec
from videogpt_jax.models.vqvae import VQVAE


class Tokenizer:
  """A trained VQ-VAE: video to codes and back.

  Attributes:
    config: the VQVAEConfig.
    sequence_length, resolution: of the clips that it was trained on. Others are taken too, where
      the down-sampling divides them.
    latent_shape: (t, h, w) of such a clip, or (t, h, w, n_codebooks).
  """

  def __init__(self, vqvae: VQVAE, sequence_length: int, resolution: int):
    self.config = vqvae.config
    self.sequence_length, self.resolution = sequence_length, resolution
    self.latent_shape = vqvae.config.latent_shape(sequence_length, resolution)
    self.graphdef, self.state = nnx.split(vqvae)
    merge = lambda state: nnx.merge(self.graphdef, state)
    self._encode = jax.jit(lambda state, video: merge(state).encode(video))
    self._decode = jax.jit(lambda state, codes: merge(state).decode(codes))
    self._lookup = jax.jit(lambda state, codes: merge(state).codebook.lookup(codes))

  @property
  def spec(self) -> CodeSpec:
    """What a prior must know of the codes."""
    config = self.config
    return CodeSpec(
      self.latent_shape,
      config.n_codes,
      config.embedding_dim // config.n_codebooks,
      self.sequence_length,
      self.resolution,
    )

  @property
  def codebook(self) -> jax.Array:
    """The codes' vectors, float32 [n_codebooks K embedding_dim / n_codebooks]."""
    return nnx.merge(self.graphdef, self.state).codebook.embeddings[...]

  @property
  def codebook_sha256(self) -> str:
    """Tells the codes of this tokenizer from those of another."""
    return hashlib.sha256(np.ascontiguousarray(self.codebook).tobytes()).hexdigest()

  def encode(self, video: jax.Array) -> jax.Array:
    """Returns the codes of a video.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
    Returns:
      int32 [B t h w], or [B t h w n_codebooks], in [0, K).
    Raises:
      ValueError: the shape is another, or the down-sampling does not divide it.
    """
    shape = np.shape(video)
    if len(shape) != 5 or shape[-1] != 3:
      raise ValueError(f'video has shape {shape}; it must be [B T H W 3]')
    if not jnp.issubdtype(jnp.result_type(video), jnp.floating):
      raise ValueError(
        f'video is {jnp.result_type(video)}; it must be float in [-0.5, 0.5]: video / 255 - 0.5'
      )
    for name, size, factor in zip(
      ('frames', 'height', 'width'), shape[1:4], self.config.downsample, strict=True
    ):
      if size % factor:
        raise ValueError(f"the video's {name} ({size}) must be divisible by downsample ({factor})")
    return self._encode(self.state, video)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Returns the video of codes int32 [B t h w]: float32 [B T H W 3], not clipped.

    Grids of another size than the trained one are decoded too.

    Raises:
      ValueError: the codes have not as many axes.
    """
    if np.ndim(codes) != len(self.latent_shape) + 1:
      raise ValueError(
        f'codes have shape {np.shape(codes)}; they must be [B, *{self.latent_shape}]'
      )
    return self._decode(self.state, codes)

  def lookup(self, codes: jax.Array) -> jax.Array:
    """Returns the vectors of codes int32 [B t h w]: float32 [B t h w E]."""
    return self._lookup(self.state, codes)
