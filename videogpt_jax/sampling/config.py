"""How many videos a run draws, and how."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class SampleConfig:
  """What the sample stage makes.

  Attributes:
    num: videos in all; with classes, they take turns.
    temperature, top_k, top_p: see `sampling.controls`; None is off.
    fps: frames a second of the files that are written.
    guidance: see `sampling.controls`; 1 is off.
    best_of: draws a clip, of which the likeliest is kept.
    num_frames: of each video; 0 makes clips of the trained length.
  """

  num: int = 16
  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  fps: int = 8
  guidance: float = 1.0
  best_of: int = 1
  num_frames: int = 0

  def __post_init__(self):
    for name in ('num', 'fps', 'best_of'):
      if getattr(self, name) < 1:
        raise ValueError(f'sample.{name} ({getattr(self, name)}) must be at least 1')
    if self.num_frames < 0:
      raise ValueError(f'sample.num_frames ({self.num_frames}) must be 0 (a clip) or more')
