"""The spec of a tokenizer's codes: what a prior must know of them."""

import dataclasses

from videogpt_jax.models.quantizers import QUANTIZERS
from videogpt_jax.models.time_grid import TimeGrid
from videogpt_jax.models.vqvae_config import VQVAEConfig
from videogpt_jax.resize import Resolution, frame_size


@dataclasses.dataclass(frozen=True)
class CodeSpec:
  """The codes of a clip, and the frames that they stand for.

  Attributes:
    latent_shape: (t, h, w), or (t, h, w, n_codebooks).
    n_codes: K.
    embedding_dim: size of one code's vector.
    sequence_length: frames of a clip.
    resolution: of a frame.
    time_grid: frames <-> latent frames; by default each latent frame covers as many frames.
    digits: sizes of the digits of a code, see `Quantizer.digits`; () for a code without parts.
  """

  latent_shape: tuple[int, ...]
  n_codes: int
  embedding_dim: int
  sequence_length: int
  resolution: Resolution
  time_grid: TimeGrid | None = None
  digits: tuple[int, ...] = ()

  def __post_init__(self):
    if self.time_grid is None:
      object.__setattr__(self, 'time_grid', TimeGrid(self.sequence_length // self.latent_shape[0]))
    if not self.digits:
      object.__setattr__(self, 'digits', (self.n_codes,))

  @property
  def frame_size(self) -> tuple[int, int]:
    """Height and width of a frame."""
    return frame_size(self.resolution)

  @property
  def clip_shape(self) -> tuple[int, int, int, int]:
    """(T, H, W, 3)."""
    return self.sequence_length, *self.frame_size, 3

  def latent_frames(self, n_frames: int) -> int:
    """Returns how many latent frames stand for so many frames (UserError where none do)."""
    return self.time_grid.latent_frames(n_frames)

  def frames(self, n_latent_frames: int) -> int:
    """Returns how many frames so many latent frames stand for."""
    return self.time_grid.frames(n_latent_frames)


def code_spec(config: VQVAEConfig, sequence_length: int, resolution: Resolution) -> CodeSpec:
  """Returns what the codes of such clips are.

  Raises:
    UserError: the tokenizer's down-sampling does not divide the clip.
  """
  return CodeSpec(
    config.latent_shape(sequence_length, resolution),
    config.n_codes,
    config.codebook.code_dim,
    sequence_length,
    resolution,
    config.time_grid,
    QUANTIZERS[config.quantizer].digits(config.codebook),
  )
