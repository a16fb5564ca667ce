"""TFRecord shards with a manifest, such as data/prepare.py writes."""

import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.input import shards
from videogpt_jax.input.actions import are_choices, between, refuse_choices
from videogpt_jax.input.clips import Clips, decode_images, window
from videogpt_jax.input.config import DatasetConfig

_N_JUDGED = 64  # records whose actions tell whether all are choices


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the recordings of a split that are long enough.

  Raises:
    UserError: there is no manifest, no such split or no usable recording, the shards hold codes, or
      actions that are choices would have to be added up.
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

  if A and config.frame_skip > 1:
    _check_choices(records, features, manifest, directory)

  def read(number, start):
    record = tf.io.parse_single_example(records.read(number), features)
    frames = record[manifest.frames_key]
    which = window(start, tf.size(frames), T, config.frame_skip)
    clip = {'video': _decode(tf.gather(frames, which), manifest)}
    if manifest.class_names:
      clip['label'] = tf.cast(record['label'], tf.int32)
    if A:
      actions = tf.numpy_function(between, [_actions(record, manifest), which], tf.float32, False)
      clip['actions'] = tf.ensure_shape(actions, (T, A))
    return clip

  class_names = manifest.class_names and tuple(manifest.class_names)
  return Clips(
    len(records.lengths),
    read,
    class_names,
    A,
    lengths=records.lengths,
    skipped=records.skipped,
    action_names=tuple(manifest.action_names or ()),
  )


def _check_choices(records, features, manifest, directory):
  """Refuses clips that leave out frames whose actions are choices, judged by the first records."""
  firsts = range(min(_N_JUDGED, len(records.lengths)))
  parsed = (tf.io.parse_single_example(records.read(i), features) for i in firsts)
  if are_choices(_actions(record, manifest).numpy() for record in parsed):
    refuse_choices(directory)


def _actions(record, manifest):
  """Returns a record's actions, float32 [n A]; zeros for the last frame where it has none."""
  actions = tf.reshape(record[manifest.actions_key], (-1, manifest.action_dim))
  missing = tf.maximum(tf.size(record[manifest.frames_key]) - tf.shape(actions)[0], 0)
  return tf.pad(actions, ((0, missing), (0, 0)))


def _decode(images, manifest):
  if manifest.encoding == 'raw':
    return tf.reshape(tf.io.decode_raw(images, tf.uint8), (images.shape[0], *manifest.shape))
  video = decode_images(images, manifest.shape[-1])
  return tf.ensure_shape(video, (None, *manifest.shape)) if manifest.same_size else video
