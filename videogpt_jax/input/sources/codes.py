"""Shards of codes, as videogpt_jax.encode makes them: a prior trains on them without encoding."""

import tensorflow as tf

from videogpt_jax.input import shards
from videogpt_jax.input.clips import Clips, to_model_range
from videogpt_jax.input.config import DatasetConfig


def clips(config: DatasetConfig, split: str) -> Clips:
  """The encoded clips of a split; of several encoded crops, training draws one, a test the first.

  A clip holds `codes` int32 [t h w], `label` and `actions` where the video had them, and `video`
  float32 [n_cond_frames H W 3] in [-0.5, 0.5] where a prior is conditioned on the first frames.

  Raises:
    ValueError: no manifest, no such split, or shards of video.
  """
  manifest = shards.load_manifest(config.path)
  if manifest.encoding != 'codes':
    raise ValueError(f"{config.path} holds video, not codes; set dataset.source to 'tfrecord'")
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
      clip['video'] = to_model_range(tf.cast(tf.reshape(frames, frames_shape), tf.float32))
    if A:
      clip['actions'] = tf.reshape(record['actions'], (n_crops, -1, A))[crop]
    return clip

  class_names = manifest.class_names and tuple(manifest.class_names)
  return Clips(len(records.lengths), read, class_names, A, skipped=records.skipped)
