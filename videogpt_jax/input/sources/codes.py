"""Shards of codes that videogpt_jax.encode wrote, for training a prior without an encoder."""

import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.input import shards
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the encoded clips of a split.

  A clip holds `codes` int32 [t h w], `label` and `actions` where the video had them, and `video`
  uint8 [n_cond_frames H W 3] where the codes were made for a prior conditioned on frames. Training
  draws one of a clip's encoded crops; tests take the first.

  Raises:
    UserError: there is no manifest or no such split, or the shards hold video.
  """
  manifest = shards.load_manifest(config.path)
  if manifest.encoding != 'codes':
    raise UserError(f"{config.path} holds video, not codes; set dataset.source to 'tfrecord'")
  records = shards.open_records(manifest, config.path, split, config.test_fraction)
  made_from = manifest.made_from
  frames_shape, A = made_from.get('first_frames_shape'), manifest.action_dim
  features = {'codes': tf.io.RaggedFeature(tf.string)}
  if manifest.class_names:
    features['label'] = tf.io.FixedLenFeature([], tf.int64)
  if frames_shape:
    features['first_frames'] = tf.io.RaggedFeature(tf.string)
  if A:
    features['actions'] = tf.io.RaggedFeature(tf.float32)

  def read(number, start):
    record = tf.io.parse_single_example(records.read(number), features)
    n_crops = tf.size(record['codes'])
    crop = tf.cast(start * tf.cast(n_crops, tf.float32), tf.int32)
    codes = tf.io.decode_raw(record['codes'][crop], tf.int32)
    clip = {'codes': tf.reshape(codes, manifest.shape)}
    if manifest.class_names:
      clip['label'] = tf.cast(record['label'], tf.int32)
    if frames_shape:
      frames = tf.io.decode_raw(record['first_frames'][crop], tf.uint8)
      clip['video'] = tf.reshape(frames, frames_shape)
    if A:
      clip['actions'] = tf.reshape(record['actions'], (n_crops, -1, A))[crop]
    return clip

  class_names = manifest.class_names and tuple(manifest.class_names)
  action_names = tuple(manifest.action_names or ())
  n = len(records.lengths)
  return Clips(n, read, class_names, A, skipped=records.skipped, action_names=action_names)
