"""What a run is fed with. Imports nothing heavy, so that a configuration can be read anywhere."""

import dataclasses

SOURCES = ('digits', 'random', 'folder', 'hdf5', 'tfrecord', 'tfds', 'codes')


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
  """Where clips come from and how they are cut.

  Attributes:
    source: one of `SOURCES`; docs/data.md describes each.
    path: folder of videos, HDF5 file, directory of shards (local or a bucket), or the data_dir of
      TensorFlow Datasets; unused by digits and random.
    name: TensorFlow Datasets builder and configuration, such as 'ucf101/ucf101_1'.
    video_key: the video feature of a TensorFlow Datasets builder; '' where there is only one.
    sequence_length: frames a clip (T).
    resolution: height and width of a frame (H = W): the shorter side is resized to it, then the
      longer is cropped about the centre.
    frame_skip: every how many frames of the recording one is taken.
    fps: frames a second of a clip, by the recording's time stamps; 0 takes frames by `frame_skip`.
    random_start: whether a training clip starts at random within its recording (test clips, and
      training clips without it, start at the first frame).
    random_flip: whether a training clip is mirrored left to right with probability 1/2.
    antialias: whether down-scaling filters first; the published models were trained without.
    test_fraction: share of the recordings held out where a folder has no test/ of its own.
    n_train_clips, n_test_clips: size of the splits that are generated (digits, random).
    n_digits: digits a clip (1 or 2).
    digit_size: height and width of a digit, in pixels.
    digit_speed: mean speed of a digit, in pixels a frame.
    data_seed: seed of the clips that are generated, as opposed to the order they come in.
  """

  source: str = 'digits'
  path: str = ''
  name: str = ''
  video_key: str = ''
  sequence_length: int = 16
  resolution: int = 32
  frame_skip: int = 1
  fps: float = 0.0
  random_start: bool = True
  random_flip: bool = False
  antialias: bool = False
  test_fraction: float = 0.1
  n_train_clips: int = 50_000
  n_test_clips: int = 256
  n_digits: int = 1
  digit_size: int = 20
  digit_speed: float = 1.5
  data_seed: int = 0

  def __post_init__(self):
    if self.source not in SOURCES:
      raise ValueError(f'dataset.source ({self.source!r}) must be one of {", ".join(SOURCES)}')
    if self.source in ('folder', 'hdf5', 'tfrecord', 'codes') and not self.path:
      raise ValueError(f'dataset.source {self.source!r} needs dataset.path; set it to your data')
    if self.source in ('folder', 'hdf5') and '://' in self.path:
      raise ValueError(
        f'dataset.path ({self.path}) must be on a local disk for source {self.source!r}; mount it, '
        "or prepare shards (data/prepare.py), which source 'tfrecord' reads from a bucket"
      )
    if self.source == 'tfds' and not self.name:
      raise ValueError(
        "dataset.source 'tfds' needs dataset.name; set a builder such as 'moving_mnist'"
      )
    for field in ('sequence_length', 'resolution', 'frame_skip', 'n_train_clips', 'n_test_clips'):
      if getattr(self, field) < 1:
        raise ValueError(f'dataset.{field} ({getattr(self, field)}) must be at least 1')
    if self.fps < 0 or (self.fps and self.frame_skip != 1):
      raise ValueError(
        f'dataset.fps ({self.fps}) must be 0, or positive with dataset.frame_skip '
        f'({self.frame_skip}) 1; set one of the two'
      )
    if self.fps and self.source != 'folder':
      raise ValueError(
        f'dataset.fps ({self.fps}) needs time stamps, which source {self.source!r} has not; '
        'set dataset.frame_skip instead'
      )
    if not 0 < self.test_fraction < 1:
      raise ValueError(f'dataset.test_fraction ({self.test_fraction}) must lie between 0 and 1')
    if self.source == 'digits':
      self._check_digits()

  def _check_digits(self):
    if self.n_digits not in (1, 2):
      raise ValueError(f'dataset.n_digits ({self.n_digits}) must be 1 or 2')
    if not 8 <= self.digit_size < self.resolution:
      raise ValueError(
        f'dataset.digit_size ({self.digit_size}) must be at least 8 and below dataset.resolution '
        f'({self.resolution})'
      )
    if not self.digit_speed >= 0:
      raise ValueError(f'dataset.digit_speed ({self.digit_speed}) must not be negative')
