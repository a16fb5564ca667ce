"""Raw data sets as they are downloaded. Each has a module with

list_items(source, options) -> Listing: lists the pieces of work without reading them;
read(item, options) -> Iterator[RawClip]: reads the recordings of one piece.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing, Resolution, check_fit, frame_size
from videogpt_jax.input.layouts.layout import Entry

_TIMED = ('folder', 'ucf101', 'kinetics600', 'tgif')  # formats of videos with time stamps


@dataclasses.dataclass(frozen=True)
class Options:
  """How recordings become records.

  Attributes:
    resolution: side of the stored frames, or (height, width).
    fit: how frames of another aspect ratio become it: crop, pad or stretch.
    antialias: whether to filter before scaling down.
    background: colour behind transparent pixels.
    frame_skip: distance between two stored frames.
    fps: frames per second to store, by time stamps; 0 uses `frame_skip`.
    max_frames: maximum number of frames per record; longer recordings are split. 0 never splits.
    encoding: format of the stored frames: raw, png or jpeg.
    official_split: number of UCF-101's split, 1 to 3.
    camera: name of a robot's camera.
    video_key, action_key, columns, axes, action_order, test_fraction, group, broken: of a folder,
      as in `videogpt_jax.input.config.DatasetConfig`.
    policy: who plays a recorded game: random, explore, or mixed for both.
    n_generated: number of training clips or episodes to generate.
    seed: seed of generated clips.
  """

  resolution: Resolution = 64
  fit: str = 'crop'
  antialias: bool = False
  background: str = 'white'
  frame_skip: int = 1
  fps: float = 0.0
  max_frames: int = 512
  encoding: str = 'raw'
  official_split: int = 1
  camera: str = ''
  video_key: str = ''
  action_key: str = ''
  columns: str = ''
  axes: str = ''
  action_order: str = 'leads_from'
  test_fraction: float = 0.1
  group: str = ''
  broken: str = 'skip'
  policy: str = 'random'
  n_generated: int = 0
  seed: int = 0

  def __post_init__(self):
    if self.encoding not in ('raw', 'png', 'jpeg'):
      raise UserError(f'encoding ({self.encoding}) must be raw, png or jpeg')
    if min(*frame_size(self.resolution), self.frame_skip) < 1 or min(self.max_frames, self.fps) < 0:
      raise UserError(
        f'resolution ({self.resolution}) and frame_skip ({self.frame_skip}) must be at least 1, '
        f'max_frames ({self.max_frames}) and fps ({self.fps}) not negative'
      )
    check_fit(self.fit)

  def check_format(self, name: str):
    """Refuses options that a format does not take (UserError)."""
    if self.fps and name not in _TIMED:
      raise UserError(f'fps ({self.fps}) needs time stamps, which {name} lacks; use frame_skip')
    if self.group and name != 'folder':
      raise UserError(f'group ({self.group!r}) is for format folder; {name} has its own split')
    if self.policy != 'random' and name != 'vizdoom':
      raise UserError(f'policy ({self.policy}) is for format vizdoom; {name} is not recorded here')

  @property
  def framing(self) -> Framing:
    """What becomes of a recording's frames."""
    return Framing(frame_size(self.resolution), self.fit, self.antialias, self.background)


@dataclasses.dataclass(frozen=True)
class Item:
  """A piece of work: a file, or a range of generated clips.

  Attributes:
    name: name for messages, unique within a split.
    split: 'train', 'val' or 'test'.
    path: path of the file, if there is one.
    label: class of its recordings, if there are classes.
    first, count: first generated clip, and their number.
    entry: the recording, where a layout has found it.
  """

  name: str
  split: str
  path: str = ''
  label: int | None = None
  first: int = 0
  count: int = 1
  entry: Entry | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
  """All items of a data set, its classes, a number of items per shard, and what was skipped.

  One-hot actions have names.
  """

  items: Sequence[Item]
  class_names: Sequence[str] | None = None
  items_per_shard: int = 64
  skipped: Sequence[str] = ()
  action_names: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class RawClip:
  """A recording: an iterable of frames uint8 or float32 [h w 3 or 1], and actions float [n A]."""

  frames: Iterable[np.ndarray]
  actions: np.ndarray | None = None


class UnusableError(UserError):
  """An item must be skipped; the message says why."""
