"""What is asked of a sampler, and what it gives back.

Axis letters: n videos; T H W frames, height, width; t h w latent grid.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True)
class Request:
  """What to generate.

  Attributes:
    n: videos.
    seed: video i depends on the seed and i, and not on n or on the devices.
    class_label: int32 [n], or one for all.
    frames: float32 [n n_cond_frames H W 3] in [-0.5, 0.5], which a prior conditioned on frames
      begins with.
    actions: float32 [n T action_dim], one vector a frame of the video, or of a clip if that is
      longer.
    temperature: divides the logits; 0 takes the most likely code at every step.
    top_k: only so many of the most likely codes remain, in [1, K].
    top_p: only the most likely codes that together reach this probability remain, in (0, 1].
    guidance: how far to go from the logits without a condition to those with it; 1 leaves the
      former out, more exaggerates what the condition changes.
    best_of: every clip is drawn so often, and the likeliest is kept.
    prefix: int32 [n t' h w], codes of the first t' latent frames, or [n p] of the first p codes in
      raster order: they are kept, and what follows is filled in.
    goes_on_from: float32 [n T' H W 3] in [-0.5, 0.5], a video whose last frames the new one begins
      with, as many as `windows.plan` says.
    num_frames: of each video; by default those of a clip. Longer ones are made of clips that begin
      with the last frames of the one before.
  """

  n: int
  seed: int = 0
  class_label: Array | int | None = None
  frames: Array | None = None
  actions: Array | None = None
  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  guidance: float = 1.0
  best_of: int = 1
  prefix: Array | None = None
  goes_on_from: Array | None = None
  num_frames: int | None = None


class Report(NamedTuple):
  """Whom the sampler tells how far it is; each function may take its time, but not much.

  Attributes:
    compiling: of what is being compiled (text).
    drawing: that a draw begins: (its number from 0, of how many).
    codes: how many codes of each clip there are, now and then.
  """

  compiling: Callable[[str], None]
  drawing: Callable[[int, int], None]
  codes: Callable[[int], None]


class Generated(NamedTuple):
  """What has been made.

  Attributes:
    video: float32 [n T H W 3] in [0, 1].
    codes: int32 [n clips t h w], of the clips that the videos are made of.
    log_likelihood: float32 [n], nats, of all codes that were drawn, under the prior at temperature
      1 without guidance.
  """

  video: np.ndarray
  codes: np.ndarray
  log_likelihood: np.ndarray
