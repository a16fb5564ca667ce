"""A trained tokenizer: video to codes and back.

Axis letters: B batch; T H W frames, height, width; t h w latent grid; K n_codes; E embedding_dim.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from flax import nnx

from videogpt_jax import programs, streaming, tiling
from videogpt_jax.errors import UserError
from videogpt_jax.models.conditioners import axes
from videogpt_jax.models.spec import CodeSpec, Resolution, code_spec
from videogpt_jax.models.trained import Trained, trained
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.sampling import checks


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=['state'],
  meta_fields=['graph', 'config', 'spec'],
)
@dataclasses.dataclass(frozen=True)
class Tokenizer(Trained[VQVAE]):
  """A trained VQ-VAE as a value.

  Methods are compiled once for each shape that they are called with.

  Attributes:
    config: of the VQ-VAE.
    spec: the codes of the clips that it was trained on. Other clips are encoded too, where the
      down-sampling divides them.
  """

  config: VQVAEConfig
  spec: CodeSpec

  @property
  def latent_shape(self) -> tuple[int, ...]:
    """(t, h, w), or (t, h, w, n_codebooks), of a clip."""
    return self.spec.latent_shape

  @property
  def codebook(self) -> jax.Array:
    """The codes' vectors, float32 [n_codebooks K embedding_dim / n_codebooks]."""
    return self.module().codebook.vectors()

  @property
  def codebook_sha256(self) -> str:
    """Digest of the codebook alone, by which older shards name their tokenizer."""
    return hashlib.sha256(np.ascontiguousarray(self.codebook).tobytes()).hexdigest()

  def encode(self, video: jax.Array) -> jax.Array:
    """Returns the codes of a video.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
    Returns:
      int32 [B t h w], or [B t h w n_codebooks], in [0, K).
    Raises:
      UserError: the shape or range is another, or the down-sampling does not divide it.
    """
    checks.check_video('video', video)
    shape = np.shape(video)
    self.config.latent_shape(shape[1], shape[2:4])
    return programs.encode(self, video)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Returns the video float32 [B T H W 3], not clipped, of codes int32 [B t h w].

    Grids of another size than the trained one are decoded too.

    Raises:
      UserError: the codes have not as many axes.
    """
    self._check_axes(codes)
    return programs.decode(self, codes)

  def encode_stream(self, chunks: Iterable[jax.Array]) -> Iterator[jax.Array]:
    """Encodes a video of any length, piece by piece, as `encode` would encode all of it.

    Memory does not grow with the video. Each length of a piece compiles once.

    Args:
      chunks: float32 [B T H W 3] in [-0.5, 0.5], consecutive stretches of a video; T may differ.
    Yields:
      int32 [B t h w], or [B t h w n_codebooks], the next latent frames that the chunks so far have
      filled, at most `streaming.PIECE` of them.
    Raises:
      UserError: the tokenizer is not causal; a chunk's shape or range is another; the video ends
        within a latent frame.
    """
    self.config.check_streams()
    checked = (self._checked(chunk) for chunk in chunks)
    return streaming.encode(self, self.spec.time_grid, checked)

  def decode_stream(self, codes: jax.Array | Iterable[jax.Array]) -> Iterator[jax.Array]:
    """Decodes codes piece by piece, as `decode` would decode all of them; see `encode_stream`.

    Args:
      codes: int32 [B t h w], or an iterable of such arrays, consecutive latent frames of a video.
    Yields:
      float32 [B T H W 3], not clipped: the frames of at most `streaming.PIECE` latent frames.
    Raises:
      UserError: the tokenizer is not causal, or codes have not as many axes.
    """
    self.config.check_streams()
    chunks = [codes] if hasattr(codes, 'ndim') else codes
    return streaming.decode(self, (self._check_axes(chunk) for chunk in chunks))

  def encode_tiles(self, video: jax.Array, overlap: int = 0) -> jax.Array:
    """Encodes frames larger than the trained ones, in tiles of the trained size.

    Memory on the device is that of a tile.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
      overlap: latent places that neighbouring tiles share at least; 0 takes a quarter of a tile.
    Returns:
      int32 [B t h w], or [B t h w n_codebooks].
    Raises:
      UserError: the shape or range is another, or the overlap is not less than a tile.
    """
    checks.check_video('video', video)
    grid = self.config.latent_shape(np.shape(video)[1], np.shape(video)[2:4])[1:3]
    return tiling.encode(self, np.asarray(video), self.tiles(grid, overlap))

  def decode_tiles(self, codes: jax.Array, overlap: int = 0) -> np.ndarray:
    """Returns the video float32 [B T H W 3], not clipped, of codes int32 [B t h w] of any size.

    Tiles fade into one another; see `encode_tiles`.
    """
    self._check_axes(codes)
    return tiling.decode(self, np.asarray(codes), self.tiles(np.shape(codes)[2:4], overlap))

  def tiles(self, grid: tuple[int, int], overlap: int = 0) -> tuple[tiling.Tiling, tiling.Tiling]:
    """Returns the tiles along height and width of a latent grid (h, w); see `encode_tiles`."""
    tile = self.latent_shape[1:3]
    overlap = overlap or max(min(tile) // 4, 1)
    return tiling.tilings(grid, tile, self.config.downsample[1:], overlap)

  def _checked(self, chunk: jax.Array) -> jax.Array:
    checks.check_video('a chunk of video', chunk)
    self.config.latent_shape(self.spec.sequence_length, np.shape(chunk)[2:4])
    return chunk

  def _check_axes(self, codes: jax.Array) -> jax.Array:
    if np.ndim(codes) != len(self.latent_shape) + 1:
      raise UserError(f'codes have shape {np.shape(codes)}; they must be {axes(self.latent_shape)}')
    return codes

  def lookup(self, codes: jax.Array) -> jax.Array:
    """Returns the vectors float32 [B t h w E] of codes int32 [B t h w]."""
    return programs.lookup(self, codes)


def make_tokenizer(vqvae: VQVAE, sequence_length: int, resolution: Resolution) -> Tokenizer:
  """Returns a VQ-VAE, trained on such clips, as a value; an abstract one gives shapes."""
  whole = trained(vqvae)
  spec = code_spec(vqvae.config, sequence_length, resolution)
  return Tokenizer(whole.graph, whole.state, vqvae.config, spec)


def abstract_tokenizer(
  config: VQVAEConfig, sequence_length: int, resolution: Resolution
) -> Tokenizer:
  """Returns a tokenizer of shapes, to be restored into, or to plan with."""
  grid = config.latent_shape(sequence_length, resolution)
  vqvae = nnx.eval_shape(lambda: VQVAE(config, grid, rngs=nnx.Rngs(0)))
  return make_tokenizer(vqvae, sequence_length, resolution)
