"""The sizes and options of a VQ-VAE."""

import dataclasses
import math

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.models.attention.axial import TIME_MASKS
from videogpt_jax.models.convolutions import TIME_PADDINGS, Size3
from videogpt_jax.models.layers import DTYPES
from videogpt_jax.models.quantizers import QUANTIZERS, QuantizerConfig
from videogpt_jax.models.time_grid import TimeGrid
from videogpt_jax.models.video_norms import VIDEO_NORMS
from videogpt_jax.resize import Resolution, frame_size

MOST = {
  'embedding_dim': 2**14,
  'n_codes': 2**24,
  'n_codebooks': 2**10,
  'n_hiddens': 2**14,
  'n_res_layers': 2**10,
  'residual_dim': 2**14,
}
"""Sizes beyond all that is trained; more is a fault in a file."""

MOST_PIXELS, MOST_LATENTS = 2**30, 2**18
"""Pixels and codes of a clip, likewise."""


@dataclasses.dataclass(frozen=True)
class VQVAEConfig:
  """Sizes of a VQ-VAE; the defaults are the published code's.

  Attributes:
    embedding_dim: size of the embedding, over all codebooks.
    n_codes: entries of each codebook.
    n_codebooks: number of groups of the embedding, each with its own codebook (table 7).
    n_hiddens: channels of the encoder's and decoder's convolutions.
    n_res_layers: residual blocks of the encoder, and of the decoder.
    residual_dim: units inside a residual block; 0 means n_hiddens // 2.
    downsample: factors along time, height and width; powers of two.
    axial_attention: whether residual blocks have axial attention (table 3).
    axial_positions: whether position embeddings are added before it, the same ones in all blocks.
    post_vq_kernel: size of the convolution between codebook and decoder, 1 or 3.
    n_heads: heads of the blocks' axial attention.
    dtype: of activations and products, 'float32' or 'bfloat16'; parameters are float32.
    quantizer: a key of `QUANTIZERS`.
    levels, bound, entropy_weight: of the quantizers that have them, see `QuantizerConfig`.
    norm: of the residual blocks, a key of `VIDEO_NORMS`.
    time_padding: of the convolutions, a key of `TIME_PADDINGS`; with 'none', and a time_window of 1
      or no attention, every latent frame stands for its own frames alone.
    time_mask: of attention along time, a key of `TIME_MASKS`.
    time_window: latent frames that causal attention along time reaches, its own included; 0 reaches
      them all. Only with a window can a video be encoded in pieces, see `check_streams`.
    first_frame_alone: whether the first latent frame covers the first frame alone, so that
      1 + factor n frames fit; needs causal padding.
  """

  embedding_dim: int = 256
  n_codes: int = 2048
  n_codebooks: int = 1
  n_hiddens: int = 240
  n_res_layers: int = 4
  residual_dim: int = 0
  downsample: Size3 = (4, 4, 4)
  axial_attention: bool = True
  axial_positions: bool = False
  post_vq_kernel: int = 1
  n_heads: int = 2
  dtype: str = 'float32'
  quantizer: str = 'ema'
  levels: tuple[int, ...] = ()
  bound: str = 'tanh'
  entropy_weight: float = 0.1
  norm: str = 'batch'
  time_padding: str = 'same'
  time_mask: str = 'none'
  time_window: int = 0
  first_frame_alone: bool = False

  def __post_init__(self):
    for name in ('embedding_dim', 'n_codes', 'n_codebooks', 'n_hiddens', 'n_res_layers', 'n_heads'):
      if getattr(self, name) < 1:
        raise UserError(f'vqvae.{name} ({getattr(self, name)}) must be at least 1')
    typed.at_most('vqvae', self, MOST)
    for name, options in {
      'dtype': DTYPES,
      'quantizer': tuple(QUANTIZERS),
      'norm': tuple(VIDEO_NORMS),
      'time_padding': tuple(TIME_PADDINGS),
      'time_mask': tuple(TIME_MASKS),
      'post_vq_kernel': (1, 3),
    }.items():
      if getattr(self, name) not in options:
        raise UserError(f'vqvae.{name} {getattr(self, name)!r} is not one of {options}')
    if self.time_window < 0 or (self.time_window and self.time_mask != 'causal'):
      raise UserError(
        f'vqvae.time_window ({self.time_window}) must be 0 (all), or the latent frames that '
        "attention reaches with vqvae.time_mask='causal'"
      )
    if self.first_frame_alone and self.time_padding != 'causal':
      raise UserError("vqvae.first_frame_alone needs vqvae.time_padding='causal'; set both")
    if self.residual_dim < 0:
      raise UserError(f'vqvae.residual_dim ({self.residual_dim}) must be 0 (half) or more')
    if self.axial_positions and not self.axial_attention:
      raise UserError('vqvae.axial_positions needs axial_attention; set both or neither')
    bad = [f for f in self.downsample if not 1 <= f <= 256 or f & (f - 1)]
    if len(self.downsample) != 3 or bad or max(self.downsample) == 1:
      raise UserError(
        f'vqvae.downsample {self.downsample} must be three powers of two up to 256 (time, height, '
        'width), not all 1; for example (4, 4, 4)'
      )
    if self.n_hiddens % 2 and not self.residual_dim:
      raise UserError(f'vqvae.n_hiddens ({self.n_hiddens}) must be even, or set residual_dim')
    if self.axial_attention and self.n_hiddens % self.n_heads:
      raise UserError(
        f'vqvae.n_hiddens ({self.n_hiddens}) must be divisible by n_heads ({self.n_heads})'
      )
    QUANTIZERS[self.quantizer].check(self.codebook)

  @property
  def codebook(self) -> QuantizerConfig:
    """What the quantizer is built from."""
    names = [field.name for field in dataclasses.fields(QuantizerConfig)]
    return QuantizerConfig(**{name: getattr(self, name) for name in names})

  @property
  def residual_units(self) -> int:
    """Units inside a residual block."""
    return self.residual_dim or self.n_hiddens // 2

  @property
  def time_grid(self) -> TimeGrid:
    """How frames correspond to latent frames."""
    return TimeGrid(self.downsample[0], self.first_frame_alone)

  def latent_shape(self, sequence_length: int, resolution: Resolution) -> tuple[int, ...]:
    """Returns (t, h, w), or (t, h, w, n_codebooks) with several codebooks.

    Args:
      sequence_length: frames of a clip.
      resolution: of a frame, H = W or (H, W).
    Raises:
      UserError: the down-sampling does not divide a size.
    """
    _, *factors = self.downsample
    sizes = frame_size(resolution)
    for name, size, factor in zip(('height', 'width'), sizes, factors, strict=True):
      if isinstance(resolution, int):
        name, factor = 'resolution', max(factors)
      if size < factor or size % factor:
        lower = size // factor * factor
        options = f'{lower} or {lower + factor}' if lower else f'{factor}'
        raise UserError(
          f'{name} ({size}) must be divisible by downsample ({factor}); use {options}'
        )
    grid = (
      self.time_grid.latent_frames(sequence_length),
      *(size // factor for size, factor in zip(sizes, factors, strict=True)),
    )
    if sequence_length * math.prod(sizes) > MOST_PIXELS:
      raise UserError(
        f'a clip has {sequence_length} frames of {sizes}, and at most {MOST_PIXELS} pixels are '
        'possible; shorten dataset.sequence_length or lower the resolution'
      )
    if math.prod(grid) * self.n_codebooks > MOST_LATENTS:
      raise UserError(
        f'a clip has {math.prod(grid) * self.n_codebooks} codes ({grid}), and at most '
        f'{MOST_LATENTS} are possible; shorten dataset.sequence_length or lower the resolution'
      )
    return grid if self.n_codebooks == 1 else (*grid, self.n_codebooks)

  def check_streams(self):
    """Refuses a VQ-VAE that cannot take a video in pieces (UserError).

    Each latent frame must depend on a bounded number of earlier frames and on no later ones. Batch
    norm, which uses running averages outside of training, mixes no frames there.
    """
    wanted = {'time_padding': ('causal', 'none'), 'axial_positions': (False,)}
    if self.axial_attention:
      wanted['time_mask'] = ('causal',)
    faults = [
      f'vqvae.{name} is {getattr(self, name)!r} (not {" or ".join(map(repr, values))})'
      for name, values in wanted.items()
      if getattr(self, name) not in values
    ]
    if self.axial_attention and not self.time_window:
      faults.append('vqvae.time_window is 0 (not a number of latent frames)')
    if faults:
      raise UserError(
        f'this tokenizer cannot take a video in pieces: {", ".join(faults)}; encode and decode '
        'whole clips, or train a causal one (configs/tokenizers.py)'
      )

  def strides(self) -> list[Size3]:
    """Returns the strides of the down-sampling convolutions: 2 on each axis until it is done."""
    halvings = [int(math.log2(factor)) for factor in self.downsample]
    return [tuple(2 if n > i else 1 for n in halvings) for i in range(max(halvings))]
