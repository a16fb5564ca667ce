"""What a tracker is told of a run when it opens it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from videogpt_jax import media


@dataclasses.dataclass(frozen=True)
class TrackedRun:
  """A run of a tracker, new or known.

  Attributes:
    project: it is filed under.
    name: people call it by.
    id: of the run that the workdir has begun there, or one that nobody has used.
    folder: the workdir; None if it lies in a bucket.
    settings: the experiment, nested.
  """

  project: str
  name: str
  id: str
  folder: str | None
  settings: Mapping[str, Any]


def as_gif(videos: np.ndarray) -> bytes:
  """Returns videos uint8 [B T H W 3] side by side as an animated GIF."""
  return media.gif(media.grid(media.enlarge(videos), columns=len(videos)), media.PREVIEW_FPS)
