"""TensorFlow Datasets builders with a video feature.

Their TFRecord shards hold a tf.train.Example a recording, with one image file a frame, as our own
do. They are read like our own: by record number, decoding the frames of a clip only.
"""

import functools

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from videogpt_jax.input.cache import cache_path
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.shard_index import index_files
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest
from videogpt_jax.input.sources.tfrecord import read_clips

_ACTION_KEYS = ('actions', 'action')


def clips(config: DatasetConfig, split: str) -> Clips:
  """The recordings of a split that are long enough; downloads and prepares them where needed.

  Raises:
    ValueError: no such builder or split, no one video feature, or shards other than TFRecord.
  """
  manifest, directory = _index(config.name, config.path, config.video_key)
  return read_clips(manifest, directory, config, split)


def _open(name, path):
  try:
    builder = tfds.builder(name, data_dir=path or None)
  except (ValueError, ImportError) as error:
    reason = str(error).strip().splitlines()[0]
    raise ValueError(
      f'dataset.name ({name}) is no TensorFlow Datasets builder: {reason}'
    ) from error
  if not builder.info.splits:
    builder.download_and_prepare(file_format='tfrecord')
  if builder.info.file_format is not tfds.core.FileFormat.TFRECORD:
    raise ValueError(
      f'{builder.data_dir} holds {builder.info.file_format.value}, not tfrecord; prepare {name} '
      "with file_format='tfrecord'"
    )
  return builder


def _video_key(builder, video_key):
  """The name of the video feature: frames are stored as image files, so of rank 4 and uint8."""
  features = builder.info.features
  shapes = {key: spec.shape for key, spec in features.get_tensor_spec().items()}
  videos = [key for key, shape in shapes.items() if len(shape) == 4 and shape[-1] in (1, 3)]
  if video_key in videos:
    return video_key
  if len(videos) != 1 or video_key:
    raise ValueError(
      f'dataset.video_key ({video_key!r}) must name one of the video features of '
      f'{builder.info.full_name}: {", ".join(videos) or "it has none"}'
    )
  return videos[0]


@functools.lru_cache(maxsize=8)
def _index(name, path, video_key) -> tuple[Manifest, str]:
  """What the shards hold and where they are; kept for the next run, for they are read for it."""
  builder = _open(name, path)
  video_key = _video_key(builder, video_key)
  splits = {'train': 'train', 'test': 'test' if 'test' in builder.info.splits else 'validation'}
  files = {
    split: sorted(str(path) for path in builder.info.splits[theirs].filepaths)
    for split, theirs in splits.items()
    if theirs in builder.info.splits
  }
  directory = str(builder.data_dir)
  cached = cache_path(f'{directory} {video_key} {builder.info.dataset_size}')
  if (cached / MANIFEST).exists():
    return load_manifest(str(cached)), directory
  logging.info('Reading all of %s once, to see what it holds', directory)
  manifest = index_files(directory, files, **_known(builder.info.features, video_key))
  try:
    cached.mkdir(parents=True, exist_ok=True)
    manifest.save(str(cached))
  except (OSError, tf.errors.OpError) as error:
    logging.info('What %s holds is not kept for the next run: %s', directory, error)
  return manifest, directory


def _known(features, video_key):
  """What the features of a builder tell of the manifest."""
  features = getattr(features, 'feature', features)  # of the steps of a Sequence
  known = {'frames_key': video_key}
  for key in _ACTION_KEYS:
    if key in features:
      known['actions_key'] = key
  if 'label' in features and isinstance(features['label'], tfds.features.ClassLabel):
    known['class_names'] = tuple(features['label'].names)
  return known
