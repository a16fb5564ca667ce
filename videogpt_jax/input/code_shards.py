"""Writes codes as shards, so that a prior trains without running the encoder."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from videogpt_jax import pixels
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.contents import open_clips
from videogpt_jax.input.pipeline import crop_batches
from videogpt_jax.input.shard_index import index_directory
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest
from videogpt_jax.models.time_grid import TimeGrid


class OtherCodesError(UserError):
  """A folder holds codes of other settings or of another tokenizer."""


_JOB = 'encode.json'  # settings that a directory of codes was begun with
_CLIPS_PER_SHARD = 512


def write_codes(
  config: DatasetConfig,
  encode: Callable[[np.ndarray], np.ndarray],
  out: str,
  *,
  n_crops: int = 1,
  n_cond_frames: int = 0,
  time_grid: TimeGrid | None = None,
  history: int = 0,
  batch_size: int = 16,
  seed: int = 0,
  made_from: Mapping[str, Any],
  progress: Callable[[int, int], None],
) -> Manifest:
  """Encodes every clip of a data set. Resumes with the shards that are missing.

  Args:
    config: data set of videos.
    encode: `video` of a batch (see `pipeline.train_batches`) -> int32 [B t h w].
    out: directory of the shards, local or in a bucket.
    n_crops: number of random crops of each training clip.
    n_cond_frames: number of first frames to store with the codes, as uint8, for a prior conditioned
      on frames.
    time_grid: the tokenizer's; needed with `history`.
    history: latent frames that a crop of a training clip may have before it, see `PriorConfig`.
    batch_size: clips to encode at a time.
    seed: seed of the random crops.
    made_from: identifies the tokenizer.
    progress: called with (clips done, all clips) after each batch.
  Raises:
    OtherCodesError: `out` was begun with other settings.
    UserError: the data are missing or broken.
  """
  job = dict(made_from) | {
    'dataset': {key: getattr(config, key) for key in config.__dataclass_fields__},
    'n_crops': n_crops,
    'n_cond_frames': n_cond_frames,
    'history': history,
    'seed': seed,
  }
  if _claim(out, job):
    return load_manifest(out)
  configs = {'train': config, 'test': config}
  if history:
    length = config.sequence_length + history * time_grid.factor
    configs['train'] = dataclasses.replace(config, sequence_length=length)
  splits = {split: open_clips(configs[split], split) for split in configs}
  n_done, n = 0, sum(clips.n for clips in splits.values())
  for split, clips in splits.items():
    n_shards = math.ceil(clips.n / _CLIPS_PER_SHARD)
    for i in range(n_shards):
      numbers = range(i * _CLIPS_PER_SHARD, min(clips.n, (i + 1) * _CLIPS_PER_SHARD))
      path = tf.io.gfile.join(out, f'{split}-{i:05d}-of-{n_shards:05d}.tfrecord')
      if tf.io.gfile.exists(path):
        progress(n_done + len(numbers), n)
      else:
        crops = n_crops if split == 'train' else 1
        batches = crop_batches(
          configs[split], split, numbers, n_crops=crops, batch_size=batch_size, seed=seed
        )
        coded = ({**batch, 'codes': np.asarray(encode(batch['video']))} for batch in batches)
        if history and split == 'train':
          coded = _stretches(coded, time_grid, history, config.sequence_length, [seed, i])
        for n_written in _write_shard(path, coded, crops, n_cond_frames):
          progress(n_done + n_written, n)
      n_done += len(numbers)
  shape = (n_cond_frames, *config.frame_size, 3)
  manifest = index_directory(
    out,
    class_names=splits['train'].class_names,
    action_names=splits['train'].action_names or None,
    action_dim=splits['train'].action_dim,
    made_from=job | {'first_frames_shape': shape if n_cond_frames else None},
  )
  manifest.save(out)
  return manifest


def _claim(out, job) -> bool:
  """Records the settings in `out`, and returns whether it is finished already."""
  tf.io.gfile.makedirs(out)
  path = tf.io.gfile.join(out, _JOB)
  job = json.loads(json.dumps(job))
  if tf.io.gfile.exists(path):
    with tf.io.gfile.GFile(path) as file:
      begun = json.load(file)
    if differing := [key for key in job if begun.get(key) != job[key]]:
      names = ' and '.join(differing)
      raise OtherCodesError(f'{out} was begun with other {names}; name another --out')
  elif tf.io.gfile.listdir(out):
    raise UserError(f'{out} holds other files; name an empty or new --out')
  with tf.io.gfile.GFile(path, 'w') as file:
    json.dump(job, file)
  return tf.io.gfile.exists(tf.io.gfile.join(out, MANIFEST))


def _stretches(batches, time_grid, history, n_frames, seed):
  """Yields the clips that begin at random latent frames of longer ones."""
  rng = np.random.default_rng(seed)
  for batch in batches:
    starts = rng.integers(history + 1, size=len(batch['codes']))
    yield time_grid.stretch(batch, starts, n_frames)


def _write_shard(path, batches, n_crops, n_cond_frames) -> Iterator[int]:
  """Yields the number of clips written so far, after each batch."""
  partial = f'{path}.partial'
  crops, n_written = [], 0
  with tf.io.TFRecordWriter(partial) as writer:
    for batch in batches:
      frames = batch.pop('video')[:, :n_cond_frames]
      if n_cond_frames:
        batch['video'] = pixels.to_uint8(frames)
      n = int(batch['mask'].sum())
      crops += [{key: batch[key][i] for key in batch} for i in range(n)]
      while len(crops) >= n_crops:
        writer.write(_example(crops[:n_crops], n_cond_frames))
        del crops[:n_crops]
        n_written += 1
      yield n_written
  tf.io.gfile.rename(partial, path, overwrite=True)


def _example(crops, n_cond_frames) -> bytes:
  """Returns the record of one clip's crops, in the format of shards.py."""
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
