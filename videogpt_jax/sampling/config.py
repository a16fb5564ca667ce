"""How many videos a run draws, and how."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class SampleConfig:
  """What the sample stage makes.

  Attributes:
    num: videos in all; with classes, they take turns.
    temperature, top_k, top_p: see `sampling.controls`; None is off.
    fps: frames a second of the files that are written.
  """

  num: int = 16
  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  fps: int = 8

  def __post_init__(self):
    if self.num < 1:
      raise ValueError(f'sample.num ({self.num}) must be at least 1')
    if self.fps < 1:
      raise ValueError(f'sample.fps ({self.fps}) must be at least 1')
