"""TensorFlow Datasets builders with a video feature.

Their TFRecord shards hold one tf.train.Example for each recording, with one image file for each
frame, as our own do. They are read in the same way: by record number, decoding only the frames of
the clip.
"""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Iterator

import tensorflow as tf
import tensorflow_datasets as tfds

from videogpt_jax.errors import UserError
from videogpt_jax.input.cache import cache_path, exclusive
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.shard_index import index_files
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest
from videogpt_jax.input.sources.tfrecord import read_clips

_log = logging.getLogger(__name__)
_FORM = 2  # format of the cached manifests; other ones are ignored
_ACTION_KEYS = ('actions', 'action')


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the recordings of a split that are long enough; first downloads them if necessary.

  Raises:
    UserError: there is no such builder or split, it is unclear which feature is the video, or the
      shards are no TFRecord files.
  """
  manifest, directory = _index(config.name, config.path, config.video_key)
  return read_clips(manifest, directory, config, split)


def _open(name, path):
  builder = _builder(name, path)
  if not builder.info.splits:
    builder = _prepare(name, path, str(builder.data_dir))
  if builder.info.file_format is not tfds.core.FileFormat.TFRECORD:
    raise UserError(
      f'{builder.data_dir} holds {builder.info.file_format.value}, not tfrecord; prepare {name} '
      "with file_format='tfrecord'"
    )
  return builder


def _builder(name, path):
  try:
    return tfds.builder(name, data_dir=path or None)
  except (ValueError, ImportError) as error:
    reason = str(error).strip().splitlines()[0]
    raise UserError(f'dataset.name ({name}) is no TensorFlow Datasets builder: {reason}') from error


def _lock_file(data_dir: str) -> pathlib.Path:
  """Returns the file to lock: beside data_dir, or in the machine's cache if that is in a bucket."""
  if '://' in data_dir:
    return cache_path(data_dir).with_suffix('.lock')
  return pathlib.Path(f'{data_dir}.lock')


def _prepare(name, path, directory):
  """Prepares a builder, unless another process has done so by the time of its turn."""
  try:
    with exclusive(_lock_file(directory)):
      builder = _builder(name, path)
      if not builder.info.splits:
        _log.info('Downloading and preparing %s in %s', name, directory)
        builder.download_and_prepare(file_format='tfrecord')
      return builder
  except Exception as error:  # a builder's own code may raise anything
    reason = ' '.join(str(error).split())[:300]
    raise UserError(f'{name} cannot be prepared: {type(error).__name__}: {reason}') from error


def _leaves(feature, name='', shape=()) -> Iterator[tuple[str, tuple, object]]:
  """Yields (name in the tf.train.Example, shape, feature) for everything in a recording."""
  inner = getattr(feature, 'feature', None)  # a Sequence, or the steps of an episode
  if inner is not None:
    yield from _leaves(inner, name, (None, *shape))
  elif isinstance(feature, tfds.features.FeaturesDict):
    for key, part in feature.items():
      yield from _leaves(part, f'{name}/{key}' if name else key, shape)
  else:
    yield name, (*shape, *(feature.shape or ())), feature


def _video_key(builder, leaves, video_key):
  """Returns the name of the video feature, whose frames are stored as image files."""
  images = (tfds.features.Video, tfds.features.Image)
  videos = [
    name
    for name, shape, feature in leaves
    if isinstance(feature, images) and len(shape) == 4 and shape[-1] in (1, 3)
  ]
  if video_key in videos:
    return video_key
  if len(videos) != 1 or video_key:
    raise UserError(
      f'dataset.video_key ({video_key!r}) must name one of the video features of '
      f'{builder.info.full_name}: {", ".join(videos) or "it has none"}'
    )
  return videos[0]


@functools.lru_cache(maxsize=8)
def _index(name, path, video_key) -> tuple[Manifest, str]:
  """Returns what the shards hold and where they are.

  Reading all shards takes long, so the manifest is cached for the next run.
  """
  builder = _open(name, path)
  leaves = list(_leaves(builder.info.features))
  video_key = _video_key(builder, leaves, video_key)
  files = {
    ours: sorted(str(path) for path in builder.info.splits[theirs].filepaths)
    for ours, theirs in _splits(list(builder.info.splits)).items()
  }
  directory, known = str(builder.data_dir), _known(leaves, video_key)
  cached = cache_path(f'{directory} {video_key} {builder.info.dataset_size} {_FORM}')
  if (cached / MANIFEST).exists():
    return dataclasses.replace(load_manifest(str(cached)), **known), directory
  _log.info('Reading all of %s once to index it', directory)
  manifest = index_files(directory, files, **known)
  try:
    cached.mkdir(parents=True, exist_ok=True)
    manifest.save(str(cached))
  except (OSError, tf.errors.OpError) as error:
    _log.info('The index of %s cannot be cached for the next run: %s', directory, error)
  return manifest, directory


def _splits(names) -> dict[str, str]:
  """Returns the builder's name of each of our splits; a single split is train."""
  if len(names) == 1:
    return {'train': names[0]}
  held_out = next((name for name in ('test', 'validation', 'val') if name in names), None)
  return {'train': 'train'} | ({'test': held_out} if held_out else {})


def _known(leaves, video_key):
  """Returns the manifest's fields that follow from a builder's features."""
  known = {'frames_key': video_key}
  for name, shape, feature in leaves:
    if name == video_key:
      known['same_size'] = None not in shape[1:]
    if name.rsplit('/', 1)[-1] in _ACTION_KEYS and len(shape) == 2:
      known |= {'actions_key': name, 'action_dim': shape[-1]}
    if name == 'label' and isinstance(feature, tfds.features.ClassLabel):
      known['class_names'] = tuple(feature.names)
  return known
