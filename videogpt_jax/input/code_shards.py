"""Writes codes as shards, from which a prior trains without running the encoder."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.pipeline import crop_batches, open_clips
from videogpt_jax.input.shard_index import index_directory
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest

_JOB = 'encode.json'  # what a directory of codes was begun as
_CLIPS_PER_SHARD = 512


def write_codes(
  config: DatasetConfig,
  encode: Callable[[np.ndarray], np.ndarray],
  out: str,
  *,
  n_crops: int = 1,
  n_cond_frames: int = 0,
  batch_size: int = 16,
  seed: int = 0,
  made_from: Mapping[str, Any],
  progress: Callable[[int, int], None],
) -> Manifest:
  """Encodes every clip of a data set; begun before, goes on with the shards that are missing.

  Args:
    config: the video.
    encode: float32 [B T H W 3] in [-0.5, 0.5] -> int32 [B t h w].
    out: directory of the shards, local or on a bucket.
    n_crops: how often a training clip is cut by chance and encoded.
    n_cond_frames: first frames to keep beside the codes, in 8 bits, for a prior that needs them.
    batch_size: clips encoded at a time.
    seed: of the cuts.
    made_from: what tells this tokenizer from another.
    progress: told (clips done, clips in all) as it goes.
  Raises:
    ValueError: `out` was begun with other settings, or the data is missing or broken.
  """
  job = dict(made_from) | {
    'dataset': {key: getattr(config, key) for key in config.__dataclass_fields__},
    'n_crops': n_crops,
    'n_cond_frames': n_cond_frames,
    'seed': seed,
  }
  if _claim(out, job):
    return load_manifest(out)
  splits = {split: open_clips(config, split) for split in ('train', 'test')}
  n_done, n = 0, sum(clips.n for clips in splits.values())
  for split, clips in splits.items():
    n_shards = math.ceil(clips.n / _CLIPS_PER_SHARD)
    for i in range(n_shards):
      numbers = range(i * _CLIPS_PER_SHARD, min(clips.n, (i + 1) * _CLIPS_PER_SHARD))
      path = tf.io.gfile.join(out, f'{split}-{i:05d}-of-{n_shards:05d}.tfrecord')
      if not tf.io.gfile.exists(path):
        crops = n_crops if split == 'train' else 1
        batches = crop_batches(
          config, split, numbers, n_crops=crops, batch_size=batch_size, seed=seed
        )
        for n_written in _write_shard(path, batches, encode, crops, n_cond_frames):
          progress(n_done + n_written, n)
      n_done += len(numbers)
      progress(n_done, n)
  shape = (n_cond_frames, config.resolution, config.resolution, 3)
  manifest = index_directory(
    out,
    class_names=splits['train'].class_names,
    action_dim=splits['train'].action_dim,
    made_from=job | {'first_frames_shape': shape if n_cond_frames else None},
  )
  manifest.save(out)
  return manifest


def _claim(out, job) -> bool:
  """Notes what `out` is begun as; whether it is finished already."""
  tf.io.gfile.makedirs(out)
  path = tf.io.gfile.join(out, _JOB)
  job = json.loads(json.dumps(job))
  if tf.io.gfile.exists(path):
    with tf.io.gfile.GFile(path) as file:
      begun = json.load(file)
    if differing := [key for key in job if begun.get(key) != job[key]]:
      raise ValueError(f'{out} was begun with other {" and ".join(differing)}; name another --out')
  elif tf.io.gfile.listdir(out):
    raise ValueError(f'{out} holds other files; name an empty or new --out')
  with tf.io.gfile.GFile(path, 'w') as file:
    json.dump(job, file)
  return tf.io.gfile.exists(tf.io.gfile.join(out, MANIFEST))


def _write_shard(path, batches, encode, n_crops, n_cond_frames) -> Iterator[int]:
  """Gives how many clips are written, after each batch."""
  partial = f'{path}.partial'
  crops, n_written = [], 0
  with tf.io.TFRecordWriter(partial) as writer:
    for batch in batches:
      batch['codes'] = np.asarray(encode(batch['video']))
      video = batch['video'][:, :n_cond_frames]
      batch['video'] = np.round((video + 0.5) * 255).astype(np.uint8)
      n = int(batch['mask'].sum())
      crops += [{key: batch[key][i] for key in batch} for i in range(n)]
      while len(crops) >= n_crops:
        writer.write(_example(crops[:n_crops], n_cond_frames))
        del crops[:n_crops]
        n_written += 1
      yield n_written
  tf.io.gfile.rename(partial, path, overwrite=True)


def _example(crops, n_cond_frames) -> bytes:
  """The record of one clip's crops, as shards.py describes it."""
  codes = [crop['codes'].astype('<i4').tobytes() for crop in crops]
  features = {
    'codes': tf.train.Feature(bytes_list=tf.train.BytesList(value=codes)),
    'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=crops[0]['codes'].shape)),
  }
  if n_cond_frames:
    frames = [crop['video'].tobytes() for crop in crops]
    features['first_frames'] = tf.train.Feature(bytes_list=tf.train.BytesList(value=frames))
  if 'label' in crops[0]:
    label = tf.train.Int64List(value=[crops[0]['label']])
    features['label'] = tf.train.Feature(int64_list=label)
  if 'actions' in crops[0]:
    actions = tf.train.FloatList(value=np.concatenate([crop['actions'] for crop in crops]).ravel())
    features['actions'] = tf.train.Feature(float_list=actions)
  example = tf.train.Example(features=tf.train.Features(feature=features))
  return example.SerializeToString(deterministic=True)
