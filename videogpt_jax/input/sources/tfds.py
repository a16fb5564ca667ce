"""TensorFlow Datasets builders with a video feature.

Their TFRecord shards hold a tf.train.Example a recording, with one image file a frame, as our own
do. They are read like our own: by record number, decoding the frames of a clip only.
"""

import functools
import logging
from collections.abc import Iterator

import tensorflow as tf
import tensorflow_datasets as tfds

from videogpt_jax.input.cache import cache_path
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.shard_index import index_files
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest
from videogpt_jax.input.sources.tfrecord import read_clips

_log = logging.getLogger(__name__)
_FORM = 2  # of what is kept; another one is not read
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
    _prepare(builder, name)
  if builder.info.file_format is not tfds.core.FileFormat.TFRECORD:
    raise ValueError(
      f'{builder.data_dir} holds {builder.info.file_format.value}, not tfrecord; prepare {name} '
      "with file_format='tfrecord'"
    )
  return builder


def _prepare(builder, name):
  _log.info('Fetching and preparing %s in %s', name, builder.data_dir)
  try:
    builder.download_and_prepare(file_format='tfrecord')
  except Exception as error:  # whatever a builder's own code may raise
    reason = ' '.join(str(error).split())[:300]
    raise ValueError(f'{name} cannot be prepared: {type(error).__name__}: {reason}') from error


def _leaves(feature, name='', shape=()) -> Iterator[tuple[str, tuple, object]]:
  """(name, shape, feature) of all that a recording holds, as its tf.train.Example names it."""
  inner = getattr(feature, 'feature', None)  # of a Sequence, or of the steps of an episode
  if inner is not None:
    yield from _leaves(inner, name, (None, *shape))
  elif isinstance(feature, tfds.features.FeaturesDict):
    for key, part in feature.items():
      yield from _leaves(part, f'{name}/{key}' if name else key, shape)
  else:
    yield name, (*shape, *(feature.shape or ())), feature


def _video_key(builder, leaves, video_key):
  """The name of the video feature: frames are stored as image files."""
  images = (tfds.features.Video, tfds.features.Image)
  videos = [
    name
    for name, shape, feature in leaves
    if isinstance(feature, images) and len(shape) == 4 and shape[-1] in (1, 3)
  ]
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
  leaves = list(_leaves(builder.info.features))
  video_key = _video_key(builder, leaves, video_key)
  files = {
    ours: sorted(str(path) for path in builder.info.splits[theirs].filepaths)
    for ours, theirs in _splits(list(builder.info.splits)).items()
  }
  directory = str(builder.data_dir)
  cached = cache_path(f'{directory} {video_key} {builder.info.dataset_size} {_FORM}')
  if (cached / MANIFEST).exists():
    return load_manifest(str(cached)), directory
  _log.info('Reading all of %s once, to see what it holds', directory)
  manifest = index_files(directory, files, **_known(leaves, video_key))
  try:
    cached.mkdir(parents=True, exist_ok=True)
    manifest.save(str(cached))
  except (OSError, tf.errors.OpError) as error:
    _log.info('What %s holds is not kept for the next run: %s', directory, error)
  return manifest, directory


def _splits(names) -> dict[str, str]:
  """Our splits by their names. Where there is one split only, some of it is held out."""
  if len(names) == 1:
    return {'train': names[0]}
  held_out = next((name for name in ('test', 'validation', 'val') if name in names), None)
  return {'train': 'train'} | ({'test': held_out} if held_out else {})


def _known(leaves, video_key):
  """What the features of a builder tell of the manifest."""
  known = {'frames_key': video_key}
  for name, shape, feature in leaves:
    if name.rsplit('/', 1)[-1] in _ACTION_KEYS and len(shape) == 2:
      known |= {'actions_key': name, 'action_dim': shape[-1]}
    if name == 'label' and isinstance(feature, tfds.features.ClassLabel):
      known['class_names'] = tuple(feature.names)
  return known
