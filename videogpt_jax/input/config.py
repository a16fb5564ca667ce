"""Configuration of a data set. Imports no TensorFlow, so that it can be read anywhere."""

import dataclasses
import re

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing, Resolution, check_fit, colour, frame_size
from videogpt_jax.shipped import PREPARE

TEST_STARTS = ('first', 'random')
DRAWS = ('recordings', 'clips')
SOURCES = ('digits', 'random', 'folder', 'hdf5', 'tfrecord', 'tfds', 'codes')
BROKEN = ('skip', 'keep', 'stop')


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
  """Where clips come from and how they are cut.

  Attributes:
    source: one of `SOURCES`; docs/data.md describes each.
    path: a folder, list or file of recordings, HDF5 file, directory of shards (local or in a
      bucket), or the data_dir of TensorFlow Datasets; unused by digits and random.
    name: TensorFlow Datasets builder and configuration, such as 'ucf101/ucf101_1'.
    video_key: which video where there are several: a camera of a robot, an array of a file, keys of
      HDF5 with wildcards ('data/*/obs/agentview_image'), or a feature of a TensorFlow Datasets
      builder. '' takes the only one, or the first, and says so.
    action_key: likewise for actions: a key, a feature, or columns of a table ('dx, dy').
    columns: columns of a list, such as 'path=clip, label=verb, split=part'; '' finds them by name.
    axes: axes of arrays, such as 'TNHW'; '' guesses by name and shape.
    action_order: 'leads_from' where action i leads from frame i to frame i + 1, 'leads_to' where it
      is the one that led to frame i.
    mirror_actions: what mirroring left to right does to actions, such as '0:1 -2': 0 and 1 swap, 2
      changes its sign; 'none' leaves them as they are; '' does not know.
    sequence_length: frames per clip (T).
    resolution: side of a square frame, or (height, width).
    fit: how frames of another aspect ratio become it: 'crop' resizes them to cover it and crops
      them about the centre, 'pad' to fit inside it on black, 'stretch' to exactly that size.
    frame_skip: distance between two frames of a clip, in frames of the recording.
    fps: frames per second of a clip, by the recording's time stamps; 0 uses `frame_skip`.
    random_start: whether a training clip starts at a random frame of its recording.
    test_start: where a test clip starts: at the 'first' frame of its recording, or at a 'random'
      one, the same at every evaluation.
    draw: what an epoch holds once: 'recordings', or 'clips', every stretch of every recording, so
      that a long recording is seen more often than a short one.
    random_crop: whether a training clip is cropped at a random position instead of the centre.
    random_flip: whether a training clip is mirrored left to right with probability 1/2.
    background: colour behind transparent pixels, by name or as '#rrggbb'.
    broken: what becomes of a recording that breaks off or cannot be read: 'skip' leaves it out,
      'keep' uses the frames before the break, 'stop' ends the run. One that turns out broken while
      clips are read gives its place to the next, unless it is 'stop' (`input/replaced.py`).
    antialias: whether to filter before scaling down; the published models were trained without.
    test_fraction: fraction of the recordings held out where the source has no test split.
    group: regular expression on the names of a folder's recordings (their paths in it); recordings
      with the same match, or the same match of its first brackets, are held out together: '(.+)_'
      for the parts 1_a.mp4 and 1_b.mp4 of a source, '.+/' for the files of a folder. '' has none.
    n_train_clips, n_test_clips: sizes of the generated splits (digits, random).
    n_digits: digits per clip (1 or 2).
    digit_size: height and width of a digit, in pixels.
    digit_speed: mean speed of a digit, in pixels per frame.
    data_seed: seed of generated clips and of the starts of test clips, independent of the seed of
      the order.
  """

  source: str = 'digits'
  path: str = ''
  name: str = ''
  video_key: str = ''
  action_key: str = ''
  columns: str = ''
  axes: str = ''
  action_order: str = 'leads_from'
  mirror_actions: str = ''
  sequence_length: int = 16
  resolution: Resolution = 32
  fit: str = 'crop'
  frame_skip: int = 1
  fps: float = 0.0
  random_start: bool = True
  test_start: str = 'first'
  draw: str = 'recordings'
  random_crop: bool = False
  random_flip: bool = False
  background: str = 'white'
  broken: str = 'skip'
  antialias: bool = False
  test_fraction: float = 0.1
  group: str = ''
  n_train_clips: int = 50_000
  n_test_clips: int = 256
  n_digits: int = 1
  digit_size: int = 20
  digit_speed: float = 1.5
  data_seed: int = 0

  def __post_init__(self):
    if self.source not in SOURCES:
      raise UserError(f'dataset.source ({self.source!r}) must be one of {", ".join(SOURCES)}')
    if self.source in ('folder', 'hdf5', 'tfrecord', 'codes') and not self.path:
      raise UserError(f'dataset.source {self.source!r} needs dataset.path; set it to your data')
    if self.source in ('folder', 'hdf5') and '://' in self.path:
      raise UserError(
        f'dataset.path ({self.path}) must be on a local disk for source {self.source!r}; mount it, '
        f"or prepare shards ({PREPARE}), which source 'tfrecord' reads from a bucket"
      )
    if self.source == 'tfds' and not self.name:
      raise UserError(
        "dataset.source 'tfds' needs dataset.name; set a builder such as 'moving_mnist'"
      )
    typed.at_most('dataset', self, {'sequence_length': 2**14, 'n_test_clips': 2**24})
    self._check_resolution()
    check_fit(self.fit)
    self._check_drawing()
    colour(self.background)
    if self.broken not in BROKEN:
      raise UserError(f'dataset.broken ({self.broken!r}) must be one of {", ".join(BROKEN)}')
    for field in ('sequence_length', 'frame_skip', 'n_train_clips', 'n_test_clips'):
      if getattr(self, field) < 1:
        raise UserError(f'dataset.{field} ({getattr(self, field)}) must be at least 1')
    if self.fps < 0 or (self.fps and self.frame_skip != 1):
      raise UserError(
        f'dataset.fps ({self.fps}) must be 0, or positive with dataset.frame_skip '
        f'({self.frame_skip}) 1; set one of the two'
      )
    if self.fps and self.source != 'folder':
      raise UserError(
        f'dataset.fps ({self.fps}) needs time stamps, which source {self.source!r} lacks; '
        'set dataset.frame_skip instead'
      )
    if self.action_order not in ('leads_from', 'leads_to'):
      raise UserError(
        f"dataset.action_order ({self.action_order!r}) must be 'leads_from' or 'leads_to'"
      )
    if not 0 < self.test_fraction < 1:
      raise UserError(f'dataset.test_fraction ({self.test_fraction}) must lie between 0 and 1')
    self._check_group()
    if self.source == 'digits':
      self._check_digits()

  @property
  def frame_size(self) -> tuple[int, int]:
    """Height and width of a frame."""
    return frame_size(self.resolution)

  def as_codes(self, path: str) -> 'DatasetConfig':
    """Returns the data set of its codes at `path`, whose clips are chosen and cut already."""
    done = {'fps': 0.0, 'random_crop': False, 'draw': 'recordings', 'group': ''}
    return dataclasses.replace(self, source='codes', path=path, **done)

  @property
  def framing(self) -> Framing:
    """What becomes of a recording's frames."""
    return Framing(self.frame_size, self.fit, self.antialias, self.background)

  @property
  def batch_dtype(self) -> str:
    """Dtype of `video` in batches, as far as it can be known without the data.

    Expects shards and HDF5 files to hold frames of `frame_size`. Batches of others are float32.
    """
    return 'uint8' if self.source in ('random', 'hdf5', 'tfrecord', 'codes') else 'float32'

  def _check_resolution(self):
    pair = isinstance(self.resolution, tuple) and len(self.resolution) == 2
    sides = self.resolution if pair else (self.resolution,)
    if any(type(side) is not int or not 1 <= side <= 2**13 for side in sides):
      raise UserError(
        f'dataset.resolution ({self.resolution}) must be in [1, {2**13}], or (height, width) of '
        'as much each'
      )

  def _check_drawing(self):
    for name, options in {'test_start': TEST_STARTS, 'draw': DRAWS}.items():
      if getattr(self, name) not in options:
        raise UserError(
          f'dataset.{name} ({getattr(self, name)!r}) must be one of {", ".join(options)}'
        )
    if self.random_crop and self.source not in ('tfrecord', 'tfds'):
      raise UserError(
        f'dataset.random_crop needs frames that are stored larger than dataset.resolution, which '
        f'source {self.source!r} lacks; prepare shards: {PREPARE} --resolution=128,171'
      )
    if self.random_crop and self.fit != 'crop':
      raise UserError(f"dataset.random_crop needs dataset.fit 'crop', not {self.fit!r}")
    if self.draw == 'clips':
      if self.source in ('digits', 'random', 'codes'):
        raise UserError(
          f"dataset.draw 'clips' needs recordings, which source {self.source!r} lacks; set it to "
          "'recordings'"
        )
      if self.fps or not self.random_start:
        raise UserError("dataset.draw 'clips' needs dataset.fps 0 and random_start; set draw back")

  def _check_group(self):
    if self.group and self.source not in ('folder', 'hdf5'):
      raise UserError(
        f'dataset.group needs names of recordings, which source {self.source!r} lacks; hold out '
        f'when shards are prepared: {PREPARE} --group'
      )
    try:
      re.compile(self.group)
    except re.error as error:
      raise UserError(
        f'dataset.group ({self.group!r}) is no regular expression: {error}'
      ) from error

  def _check_digits(self):
    if self.n_digits not in (1, 2):
      raise UserError(f'dataset.n_digits ({self.n_digits}) must be 1 or 2')
    if not 8 <= self.digit_size < min(self.frame_size):
      raise UserError(
        f'dataset.digit_size ({self.digit_size}) must be at least 8 and below dataset.resolution '
        f'({self.resolution})'
      )
    if not self.digit_speed >= 0:
      raise UserError(f'dataset.digit_speed ({self.digit_speed}) must not be negative')
