"""Frames and latent frames: how many of one make the other.

Axis letters: T frames; t latent frames.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from videogpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class TimeGrid:
  """How a tokenizer divides the frames of a clip among latent frames.

  Attributes:
    factor: frames that a latent frame covers.
    first_alone: whether the first latent frame covers the first frame alone, as causal tokenizers
      do: t = 1 + (T - 1) / factor instead of T / factor.
  """

  factor: int
  first_alone: bool = False

  def latent_frames(self, n_frames: int) -> int:
    """Returns t for T frames.

    Raises:
      UserError: T frames do not fill whole latent frames.
    """
    alone = int(self.first_alone)
    t, rest = divmod(n_frames - alone, self.factor)
    if rest or t + alone < 1:
      fit = [alone + self.factor * n for n in (t, t + 1) if alone + n > 0]
      raise UserError(
        f'{n_frames} frames do not fill latent frames of {self.factor}'
        f'{" after the first frame" if alone else ""}; use {" or ".join(map(str, fit))}'
      )
    return t + alone

  def whole_latent_frames(self, n_frames: int) -> int:
    """Returns how many latent frames the first of so many frames fill, 0 or more."""
    alone = int(self.first_alone)
    return max((n_frames - alone) // self.factor + alone, 0)

  def frames(self, n_latent_frames: int) -> int:
    """Returns T for t latent frames; 0 for none."""
    if not n_latent_frames:
      return 0
    alone = int(self.first_alone)
    return alone + self.factor * (n_latent_frames - alone)

  def stretch(
    self, batch: Mapping[str, Any], starts: jax.Array | np.ndarray, n_frames: int
  ) -> dict[str, Any]:
    """Cuts a clip out of each row of a batch of longer ones.

    A latent frame after the first one stands for the frames up to its last, which therefore becomes
    the first frame of a clip whose first latent frame stands for one alone.

    Args:
      batch: of its entries, `codes` [B t ...], `video` and `actions` [B T ...] are cut.
      starts: int [B], first latent frame of each clip.
      n_frames: of a clip.
    """
    cut = {
      'codes': (starts, self.latent_frames(n_frames)),
      'video': (self.factor * starts, n_frames),
      'actions': (self.factor * starts, n_frames),
    }
    return {key: _rows(x, *cut[key]) if key in cut else x for key, x in batch.items()}


def _rows(x, starts, n):
  return x[np.arange(len(x))[:, None], starts[:, None] + np.arange(n)]
