"""TFRecord shards with a manifest, such as data/prepare.py writes."""

import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.input import shards
from videogpt_jax.input.clips import Clips, decode_images, window
from videogpt_jax.input.config import DatasetConfig


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the recordings of a split that are long enough.

  Raises:
    UserError: there is no manifest, no such split or no usable recording, or the shards hold codes.
  """
  return read_clips(shards.load_manifest(config.path), config.path, config, split)


def read_clips(
  manifest: shards.Manifest, directory: str, config: DatasetConfig, split: str
) -> Clips:
  """Like `clips`, for the shards that a manifest describes."""
  if manifest.encoding == 'codes':
    raise UserError(f"{directory} holds codes, not video; set dataset.source to 'codes'")
  T, A = config.sequence_length, manifest.action_dim
  needed = (T - 1) * config.frame_skip + 1
  records = shards.open_records(manifest, directory, split, config.test_fraction, needed)
  features = {manifest.frames_key: tf.io.RaggedFeature(tf.string)}
  if manifest.class_names:
    features['label'] = tf.io.FixedLenFeature([], tf.int64)
  if A:
    features[manifest.actions_key] = tf.io.RaggedFeature(tf.float32)

  def read(number, start):
    record = tf.io.parse_single_example(records.read(number), features)
    frames = record[manifest.frames_key]
    which = window(start, tf.size(frames), T, config.frame_skip)
    clip = {'video': _decode(tf.gather(frames, which), manifest)}
    if manifest.class_names:
      clip['label'] = tf.cast(record['label'], tf.int32)
    if A:
      actions = tf.reshape(record[manifest.actions_key], (-1, A))
      # Some data sets have no action for the last frame, which gets zeros.
      missing = tf.maximum(tf.size(frames) - tf.shape(actions)[0], 0)
      clip['actions'] = tf.gather(tf.pad(actions, ((0, missing), (0, 0))), which)
    return clip

  class_names = manifest.class_names and tuple(manifest.class_names)
  n = len(records.lengths)
  return Clips(n, read, class_names, A, lengths=records.lengths, skipped=records.skipped)


def _decode(images, manifest):
  if manifest.encoding == 'raw':
    return tf.reshape(tf.io.decode_raw(images, tf.uint8), (images.shape[0], *manifest.shape))
  video = decode_images(images, manifest.shape[-1])
  return tf.ensure_shape(video, (None, *manifest.shape)) if manifest.same_size else video
