"""Requests to a sampler, its progress callbacks and its results.

Axis letters: n videos; T H W frames, height, width; t h w latent grid.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from videogpt_jax.models.conditioners import Array
from videogpt_jax.sampling.settings import SamplingSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """Videos to generate.

  Attributes:
    n: number of videos.
    seed: video i depends on the seed and i, and not on n or on the devices.
    settings: how they are drawn.
    conditions: by the names of `models.conditioners.CONDITIONERS`, [n ...] each. `actions` has one
      vector a frame of the video, or of a clip if that is longer.
    prefix: int32 [n t' h w], codes of the first t' latent frames, or [n p] of the first p codes in
      raster order: they are kept, and the rest is drawn.
    continue_from: float32 [n T' H W 3] in [-0.5, 0.5], a video whose last frames the new one begins
      with, as many as `windows.plan` says.
  """

  n: int
  seed: int = 0
  settings: SamplingSettings = dataclasses.field(default_factory=SamplingSettings)
  conditions: Mapping[str, Array] = dataclasses.field(default_factory=dict)
  prefix: Array | None = None
  continue_from: Array | None = None


class Callbacks(NamedTuple):
  """Progress callbacks. Must return quickly.

  Attributes:
    compiling: called with the name of the program that is about to be compiled.
    drawing: called when a draw begins: (its number from 0, of how many).
  """

  compiling: Callable[[str], None]
  drawing: Callable[[int, int], None]


class Generated(NamedTuple):
  """Generated videos.

  Attributes:
    video: float32 [n T H W 3] in [0, 1].
    codes: int32 [n clips t h w], of the clips that the videos are made of.
    log_likelihood: float64 [n], nats, of all codes that were drawn, under the prior at temperature
      1 without guidance.
    passes: int64 [n], through the prior, that drew each video's codes, in all clips and draws.
  """

  video: np.ndarray
  codes: np.ndarray
  log_likelihood: np.ndarray
  passes: np.ndarray
