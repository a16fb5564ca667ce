"""Sources -> clips -> batches, with tf.data.

The clip at each place of each global batch is a function of (seed, step, place) alone: every epoch
is a stateless permutation of the clip numbers, and every random crop a stateless draw. So nothing
is shuffled in memory, resuming is immediate, and each host computes its own share only.
"""

import dataclasses
import functools
import logging
import os
import re
import weakref
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from videogpt_jax import pixels
from videogpt_jax.errors import UserError
from videogpt_jax.input.actions import mirror
from videogpt_jax.input.clips import for_model, resize_and_crop
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.contents import open_clips
from videogpt_jax.input.faults import printable

_log = logging.getLogger(__name__)

Batch = dict[str, np.ndarray]


def train_batches(
  config: DatasetConfig,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[Batch]:
  """Returns an endless stream of shuffled batches that begins with step `start_step`.

  Args:
    config: the data set.
    batch_size: size of the global batch, over all hosts.
    seed: seed of the order and the augmentation.
    start_step: step of the first batch; earlier ones are not computed.
    process_index, process_count: index of this host, and number of hosts. Hosts get consecutive
      shares of the global batch.
  Returns:
    Batches of B = batch_size / process_count clips. `video` [B T H W 3] is uint8 in [0, 255] if the
    source stores 8-bit frames of the configured size, else float32 in [-0.5, 0.5]; all batches of
    a split have the same dtype, and `pixels.to_model_range` takes both. `label` int32 [B] and
    `actions` float32 [B T A] are there where the source has them. Source 'codes' has `codes` int32
    [B t h w], and as `video` only the first frames that were encoded with them, uint8, or none.
  Raises:
    UserError: the hosts cannot share the batch, or the data is missing or broken.
  """
  clips = open_clips(config, 'train')
  share = _share(batch_size, process_index, process_count)
  n, find = _stretches(clips, config) if config.draw == 'clips' else (clips.n, None)

  def read(i):
    place = i // share * batch_size + process_index * share + i % share
    epoch, nth = place // n, place % n
    number = tf.random.experimental.index_shuffle(nth, [seed, epoch], n - 1)
    index, start = find(number) if find else (number, None)
    return _cut(clips, config, index, key=[seed, place], start=start)

  places = tf.data.Dataset.range(start_step * share, tf.int64.max)
  return _batches(places, read, share)


def test_batches(
  config: DatasetConfig,
  *,
  batch_size: int,
  split: str = 'test',
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[Batch]:
  """Returns batches of every clip of a held-out split once, in order, from `dataset.test_start` on.

  `split` is 'test' or 'val'; where a data set has only one of them, either name means it.

  Like `train_batches`, and `mask` float32 [B] is 1 for a clip and 0 for padding of the last batch.
  All hosts get the same number of batches.
  """
  clips = open_clips(config, split)
  share = _share(batch_size, process_index, process_count)

  def read(i):
    place = i // share * batch_size + process_index * share + i % share
    clip = _cut(clips, config, tf.minimum(place, clips.n - 1))
    return clip | {'mask': tf.cast(place < clips.n, tf.float32)}

  n_batches = -(-clips.n // batch_size)
  return _batches(tf.data.Dataset.range(n_batches * share), read, share)


def real_batches(
  config: DatasetConfig, *, split: str, start: str | None, batch_size: int, seed: int = 0
) -> Iterator[Batch]:
  """Returns batches of every clip of a split once, cut as test clips are, to score against.

  Like `test_batches`.

  Args:
    config: the data set.
    split: 'test', 'val' or 'train', shuffled by `seed`, so that any first clips represent it.
    start: 'first' or 'random', where clips begin in their recordings; None as in
      `dataset.test_start`.
    batch_size: size of a batch.
    seed: of the order.
  """
  config = dataclasses.replace(config, test_start=start or config.test_start)
  clips = open_clips(config, split)

  def read(i):
    place = tf.minimum(i, clips.n - 1)
    place = tf.random.experimental.index_shuffle(place, [seed, 0], clips.n - 1)
    return _cut(clips, config, place) | {'mask': tf.cast(i < clips.n, tf.float32)}

  places = tf.data.Dataset.range(-(-clips.n // batch_size) * batch_size)
  return _batches(places, read, batch_size)


def first_test_clips(config: DatasetConfig, n: int) -> Batch:
  """Returns the first `n` test clips, or all if there are fewer.

  Returns:
    One batch as from `test_batches`, without padding and `mask`; `video` is float32.
  """
  n = min(n, open_clips(config, 'test').n)
  batch = next(test_batches(config, batch_size=n))
  del batch['mask']
  if 'video' in batch:
    batch['video'] = pixels.to_model_range(batch['video'])
  return batch


def crop_batches(
  config: DatasetConfig, split: str, numbers: range, *, n_crops: int, batch_size: int, seed: int
) -> Iterator[Batch]:
  """Returns batches of some clips of a split, with `n_crops` consecutive crops of each clip.

  Like `test_batches`. Crops of training clips are random: crop c of clip i depends on (seed, i, c)
  alone.
  """
  clips = open_clips(config, split)
  n = len(numbers) * n_crops

  def read(i):
    cut = numbers.start * n_crops + tf.minimum(i, n - 1)
    key = [seed, cut] if split == 'train' else None
    clip = _cut(clips, config, cut // n_crops, key)
    return clip | {'mask': tf.cast(i < n, tf.float32)}

  places = tf.data.Dataset.range(-(-n // batch_size) * batch_size)
  return _batches(places, read, batch_size)


def flips(config: DatasetConfig, action_dim: int | None) -> bool:
  """Whether training clips are mirrored: not where nobody says what that does to actions."""
  if config.random_flip and action_dim and not config.mirror_actions:
    _tell_unmirrored(printable(config.path or config.name))
    return False
  return config.random_flip


@functools.cache
def _tell_unmirrored(path: str):
  _log.info(
    '%s: clips are not mirrored, since dataset.mirror_actions does not say what becomes of their '
    'actions',
    path,
  )


def _share(batch_size, process_index, process_count):
  if batch_size < 1 or batch_size % process_count:
    raise UserError(
      f'batch_size ({batch_size}) must be a positive multiple of the {process_count} hosts'
    )
  if not 0 <= process_index < process_count:
    raise UserError(f'process_index ({process_index}) must lie in [0, {process_count})')
  return batch_size // process_count


def _stretches(clips, config):
  """Returns the number of all clips that recordings have, and what finds one by its number.

  That function turns an int64 [] into the number of the recording and the clip's start, float32 [].
  """
  places = clips.lengths - (config.sequence_length - 1) * config.frame_skip
  ends = np.cumsum(places)

  def find(number):
    recording = tf.searchsorted(ends, number[None], side='right')[0]
    n = tf.gather(places, recording)
    nth = number - (tf.gather(ends, recording) - n)
    middle = (tf.cast(nth, tf.float32) + 0.5) / tf.cast(n, tf.float32)
    return tf.cast(recording, tf.int64), middle

  return int(ends[-1]), find


def _cut(clips, config, index, key=None, start=None):
  """Returns clip `index` at its final size.

  Args:
    index: int64 [].
    key: int64 [2], of the random start and augmentation of a training clip; None of a test clip.
    start: float32 [], instead of a random one.
  """
  flip = position = None
  if key is None:
    test_key = [config.data_seed, index]
    random, drawn = config.test_start == 'random', tf.random.stateless_uniform((), test_key)
  else:
    random, (drawn, flip) = config.random_start, tf.unstack(tf.random.stateless_uniform((2,), key))
    if config.random_crop:
      crop_key = tf.random.experimental.stateless_fold_in(key, 1)
      position = tf.random.stateless_uniform((2,), crop_key)
  start = drawn if start is None else start
  clip = clips.read(index, start if random else 0.0)
  if 'codes' in clip:
    return dict(clip)
  video = resize_and_crop(clip['video'], config.frame_size, config.antialias, config.fit, position)
  if flip is not None and flips(config, clips.action_dim):
    video = tf.where(flip < 0.5, video[:, :, ::-1], video)
    if clips.action_dim:
      order, sign = mirror(config.mirror_actions, clips.action_dim)
      mirrored = tf.gather(clip['actions'], order, axis=1) * sign
      clip = dict(clip) | {'actions': tf.where(flip < 0.5, mirrored, clip['actions'])}
  video = tf.ensure_shape(video, (config.sequence_length, None, None, None))
  return dict(clip) | {'video': for_model(video)}


def _batches(places, read, batch_size):
  options = tf.data.Options()
  options.deterministic = True
  options.threading.max_intra_op_parallelism = 1  # clips run in parallel; XLA needs the rest
  options.autotune.enabled = False  # its thread may sleep on for a minute when a pipeline ends
  read = tf.autograph.experimental.do_not_convert(read)
  clips = places.map(read, num_parallel_calls=os.cpu_count())
  batches = clips.batch(batch_size, drop_remainder=True).prefetch(2)
  return _Batches(batches.with_options(options))


class _Batches(Iterator[Batch]):
  """The batches of a tf.data.Dataset.

  Sources that decode in Python need the interpreter in TensorFlow's threads. These are stopped
  before the interpreter shuts down, since each would wait for the other.
  """

  def __init__(self, dataset: tf.data.Dataset):
    self._iterator = dataset.as_numpy_iterator()
    self._stop = weakref.finalize(self, self.__dict__.clear)

  def __next__(self) -> Batch:
    try:
      return next(self._iterator)
    except tf.errors.OpError as error:
      reason = re.sub(r'{{.*?}} ', '', error.message.splitlines()[0]).removeprefix('UserError: ')
      raise UserError(f'the data set cannot be read any further: {reason}') from error
