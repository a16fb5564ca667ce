"""Sources -> clips -> batches, with tf.data.

The clip at each place of each global batch is a function of (seed, step, place) alone: a stateless
permutation of the clip numbers an epoch, and a stateless draw a clip. Nothing is therefore shuffled
in memory, resuming costs nothing, and a host computes the places of its own share only.
"""

import dataclasses
import importlib
import re
import weakref
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from videogpt_jax.input.clips import Clips, resize_and_crop, to_model_range
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.shards import load_manifest

Batch = dict[str, np.ndarray]

# Whose clips were never compressed: formats of data/prepare.py, builders of TensorFlow Datasets.
_RAW_FORMATS = ('bair', 'bair_robot_pushing_small', 'moving_mnist', 'vizdoom')


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """Sizes of a data set: clips a split, names of its classes and size of its actions, or None."""

  n_train: int
  n_test: int
  class_names: tuple[str, ...] | None = None
  action_dim: int | None = None


def describe(config: DatasetConfig) -> DatasetInfo:
  """What the data set holds.

  Raises:
    ValueError: the data is missing, broken or contradictory.
  """
  train, test = open_clips(config, 'train'), open_clips(config, 'test')
  return DatasetInfo(train.n, test.n, train.class_names, train.action_dim)


def check_codes(path: str, n_cond_frames: int):
  """Raises ValueError unless a directory holds codes, and so many first frames beside them."""
  manifest = load_manifest(path)
  if manifest.encoding != 'codes':
    raise ValueError(f'prior_codes ({path}) holds video, not codes; make them with encode')
  n_stored = (manifest.made_from.get('first_frames_shape') or [0])[0]
  if n_stored < n_cond_frames:
    raise ValueError(
      f'prior_codes ({path}) holds {n_stored} first frames, prior.n_cond_frames asks for '
      f'{n_cond_frames}; encode again with this configuration'
    )


def train_batches(
  config: DatasetConfig,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[Batch]:
  """An endless stream of shuffled batches, from that of step `start_step` on.

  Args:
    config: the data set.
    batch_size: of the global batch, over all hosts.
    seed: of the order and the augmentation.
    start_step: step of the first batch; resuming there costs no replay.
    process_index, process_count: which host this is, of how many. Hosts hold consecutive shares.
  Returns:
    batches of B = batch_size / process_count clips: `video` float32 [B T H W 3] in [-0.5, 0.5];
    `label` int32 [B] and `actions` float32 [B T A] where the source has them. Source 'codes' has
    `codes` int32 [B t h w], and `video` holds the first frames only, if it was encoded with them.
  Raises:
    ValueError: the batch cannot be shared out, or the data is missing or broken.
  """
  clips = open_clips(config, 'train')
  share = _share(batch_size, process_index, process_count)

  def read(i):
    place = i // share * batch_size + process_index * share + i % share
    epoch, nth = place // clips.n, place % clips.n
    index = tf.random.experimental.index_shuffle(nth, [seed, epoch], clips.n - 1)
    return _cut(clips, config, index, key=[seed, place])

  places = tf.data.Dataset.range(start_step * share, tf.int64.max)
  return _batches(places, read, share)


def test_batches(
  config: DatasetConfig, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
  """Every test clip once, in order, from its first frame.

  As `train_batches`, and `mask` float32 [B]: 1 for a clip, 0 for one that pads the last batch. All
  hosts have the same number of batches.
  """
  clips = open_clips(config, 'test')
  share = _share(batch_size, process_index, process_count)

  def read(i):
    place = i // share * batch_size + process_index * share + i % share
    clip = _cut(clips, config, tf.minimum(place, clips.n - 1))
    return clip | {'mask': tf.cast(place < clips.n, tf.float32)}

  n_batches = -(-clips.n // batch_size)
  return _batches(tf.data.Dataset.range(n_batches * share), read, share)


def crop_batches(
  config: DatasetConfig, split: str, numbers: range, *, n_crops: int, batch_size: int, seed: int
) -> Iterator[Batch]:
  """Some clips of a split in order, each cut `n_crops` times as in training, one after the other.

  As `test_batches`; cut c of clip i depends on (seed, i, c) alone. Test clips are cut as in
  `test_batches`, whatever the seed.
  """
  clips = open_clips(config, split)
  n = len(numbers) * n_crops

  def read(i):
    cut = numbers.start * n_crops + tf.minimum(i, n - 1)
    key = None if split == 'test' else [seed, cut]
    clip = _cut(clips, config, cut // n_crops, key)
    return clip | {'mask': tf.cast(i < n, tf.float32)}

  places = tf.data.Dataset.range(-(-n // batch_size) * batch_size)
  return _batches(places, read, batch_size)


def open_clips(config: DatasetConfig, split: str) -> Clips:
  """The clips of a split ('train' or 'test')."""
  source = importlib.import_module(f'videogpt_jax.input.sources.{config.source}')
  return source.clips(config, split)


def compression(config: DatasetConfig) -> str:
  """What lossy compression the clips have been through, as far as is on record; '' if none."""
  if config.source == 'folder':
    return 'video files'
  if config.source == 'tfds':
    return '' if config.name.split('/')[0] in _RAW_FORMATS else 'video files'
  if config.source != 'tfrecord':
    return ''
  manifest = load_manifest(config.path)
  if manifest.encoding == 'jpeg':
    return 'JPEG frames'
  made_from = manifest.made_from.get('format')  # None of shards from elsewhere
  return '' if made_from in (None, *_RAW_FORMATS) else 'frames of video files'


def _share(batch_size, process_index, process_count):
  if batch_size < 1 or batch_size % process_count:
    raise ValueError(
      f'batch_size ({batch_size}) must be a positive multiple of the {process_count} hosts'
    )
  if not 0 <= process_index < process_count:
    raise ValueError(f'process_index ({process_index}) must lie in [0, {process_count})')
  return batch_size // process_count


def _cut(clips, config, index, key=None):
  """Clip `index` as a model takes it: cut by chance where a `key` (int64 [2]) is given, scaled."""
  start, flip = 0.0, None
  if key is not None:
    start, flip = tf.unstack(tf.random.stateless_uniform((2,), key))
  clip = clips.read(index, start if config.random_start else 0.0)
  if 'codes' in clip:
    return dict(clip)
  video = resize_and_crop(clip['video'], config.resolution, config.antialias)
  if config.random_flip and flip is not None:
    video = tf.where(flip < 0.5, video[:, :, ::-1], video)
  video = tf.ensure_shape(video, (config.sequence_length, None, None, None))
  return clip | {'video': to_model_range(video)}


def _batches(places, read, batch_size):
  options = tf.data.Options()
  options.deterministic = True
  options.threading.max_intra_op_parallelism = 1  # clips are the parallelism; XLA wants the rest
  read = tf.autograph.experimental.do_not_convert(read)
  clips = places.map(read, num_parallel_calls=tf.data.AUTOTUNE)
  batches = clips.batch(batch_size, drop_remainder=True).prefetch(2)
  return _Batches(batches.with_options(options))


class _Batches(Iterator[Batch]):
  """The batches of a tf.data.Dataset.

  A source that decodes in Python needs the interpreter in TensorFlow's threads. When the program
  ends these are stopped first: left to the interpreter's own tear-down, each waits for the other.
  """

  def __init__(self, dataset: tf.data.Dataset):
    self._iterator = dataset.as_numpy_iterator()
    self._stop = weakref.finalize(self, self.__dict__.clear)

  def __next__(self) -> Batch:
    try:
      return next(self._iterator)
    except tf.errors.OpError as error:
      reason = re.sub(r'{{.*?}} ', '', error.message.splitlines()[0])
      raise ValueError(f'the data set cannot be read on: {reason}') from error
