"""Raw data sets as they are downloaded: a module each, with

list_items(source, options) -> Listing: the pieces of work, without reading them;
read(item, options) -> the recordings of one piece, one after the other.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Options:
  """How recordings become records.

  Attributes:
    resolution: height and width of the stored frames.
    antialias: filter before scaling down.
    frame_skip: every how many frames one is stored.
    fps: frames a second stored, by time stamps; 0 goes by `frame_skip`.
    max_frames: longer recordings are cut into records of so many frames; 0 keeps them whole.
    encoding: of a stored frame: raw, png or jpeg.
    official_split: which of UCF-101's three splits.
    camera: which view of a robot.
    n_generated: training clips, or episodes, of a data set that is generated.
    seed: of what is generated.
  """

  resolution: int = 64
  antialias: bool = False
  frame_skip: int = 1
  fps: float = 0.0
  max_frames: int = 512
  encoding: str = 'raw'
  official_split: int = 1
  camera: str = ''
  n_generated: int = 0
  seed: int = 0

  def __post_init__(self):
    if self.encoding not in ('raw', 'png', 'jpeg'):
      raise ValueError(f'encoding ({self.encoding}) must be raw, png or jpeg')
    if self.resolution < 1 or self.frame_skip < 1 or self.max_frames < 0 or self.fps < 0:
      raise ValueError(
        f'resolution ({self.resolution}) and frame_skip ({self.frame_skip}) must be at least 1, '
        f'max_frames ({self.max_frames}) and fps ({self.fps}) not negative'
      )


@dataclasses.dataclass(frozen=True)
class Item:
  """A piece of work: a file, or a stretch of what is generated.

  Attributes:
    name: unique within a split; messages name it.
    split: 'train' or 'test'.
    path: the file, if there is one.
    label: class of its recordings, if there are classes.
    first, count: which generated clips.
  """

  name: str
  split: str
  path: str = ''
  label: int | None = None
  first: int = 0
  count: int = 1


@dataclasses.dataclass(frozen=True)
class Listing:
  """All pieces of a data set, its classes, and how many pieces make a shard of handy size."""

  items: Sequence[Item]
  class_names: Sequence[str] | None = None
  items_per_shard: int = 64


@dataclasses.dataclass(frozen=True)
class RawClip:
  """A recording: frames uint8 [h w 3 or 1] one after the other, and actions float [n A] of all."""

  frames: Iterable[np.ndarray]
  actions: np.ndarray | None = None


class UnusableError(ValueError):
  """An item that is skipped, with the reason."""
