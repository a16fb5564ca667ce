"""Converts raw data to records, in the same way in one process, in many, or with Beam."""

import importlib
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from data.formats import Item, Options, RawClip, UnusableError
from videogpt_jax.errors import UserError
from videogpt_jax.input.clips import resize_and_crop
from videogpt_jax.input.recording import BrokenRecordingError
from videogpt_jax.resize import frame_size

_CHUNK = 32  # frames to resize at a time
_ENCODERS = {
  'raw': np.ndarray.tobytes,
  'png': lambda image: tf.io.encode_png(image).numpy(),
  'jpeg': lambda image: tf.io.encode_jpeg(image, quality=95).numpy(),
}


def convert(format_name: str, item: Item, options: Options) -> tuple[list[bytes], str]:
  """Converts an item to records in the format of videogpt_jax/input/shards.py.

  Args:
    format_name: name of the module in data/formats.
    item: piece of raw data.
    options: how to store it.
  Returns:
    Serialised tf.train.Examples, and why the item is unusable, or ''. An item is stored completely
    or not at all.
  Raises:
    UserError: it is unusable, and `options.broken` is 'stop'.
  """
  reader = importlib.import_module(f'data.formats.{format_name}')
  try:
    clips = reader.read(item, options)
    return [record for clip in clips for record in _records(clip, item.label, options)], ''
  except (UnusableError, BrokenRecordingError) as error:
    if options.broken == 'stop':
      raise UserError(f"{item.name}: {error}; remove it, or set --broken to 'skip'") from error
    name = item.name if item.entry else f'{item.split}/{item.name}'
    return [], f'{name}: {error}'


def _records(clip: RawClip, label: int | None, options: Options) -> Iterator[bytes]:
  """Yields a recording as one record, or as several of `max_frames`."""
  images = _encode(clip.frames, options)
  n = 0
  while part := list(itertools.islice(images, options.max_frames or None)):
    actions = None if clip.actions is None else clip.actions[n : n + len(part)]
    yield _example(part, actions, label, options)
    n += len(part)


def _encode(frames: Iterable[np.ndarray], options: Options) -> Iterator[bytes]:
  encode, size = _ENCODERS[options.encoding], frame_size(options.resolution)
  frames = iter(frames)
  while chunk := list(itertools.islice(frames, _CHUNK)):
    video = np.stack(chunk)
    if video.shape[1:3] != size:
      video = resize_and_crop(tf.constant(video), size, options.antialias, options.fit).numpy()
    if video.dtype != np.uint8:
      video = np.rint(video.clip(0, 255)).astype(np.uint8)
    yield from map(encode, video)


def _example(images, actions, label, options):
  H, W = frame_size(options.resolution)
  n_channels = len(images[0]) // (H * W) if options.encoding == 'raw' else 3
  features = {
    'frames': tf.train.Feature(bytes_list=tf.train.BytesList(value=images)),
    'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=[H, W, n_channels])),
  }
  if label is not None:
    features['label'] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
  if actions is not None:
    values = tf.train.FloatList(value=actions.ravel())
    features['actions'] = tf.train.Feature(float_list=values)
  example = tf.train.Example(features=tf.train.Features(feature=features))
  return example.SerializeToString(deterministic=True)  # equal data gives equal checksums
