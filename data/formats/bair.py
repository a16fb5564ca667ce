"""BAIR robot pushing: softmotion30_44k/{train,test}/*.tfrecords, recordings of 30 64x64 frames."""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from data.formats import Item, Listing, Options, RawClip, UnusableError
from videogpt_jax.errors import UserError
from videogpt_jax.input.actions import between

_N_FRAMES = 30
_SIZE = (64, 64, 3)
_CAMERAS = ('image_aux1', 'image_main')


def list_items(source: str, options: Options) -> Listing:
  """Lists the files, each of which holds several recordings."""
  if options.camera not in ('', *_CAMERAS):
    raise UserError(f'camera ({options.camera}) must be one of {", ".join(_CAMERAS)}')
  root = pathlib.Path(source)
  root = root / 'softmotion30_44k' if (root / 'softmotion30_44k').is_dir() else root
  items = [
    Item(path.name, split, str(path))
    for split in ('train', 'test')
    for path in sorted((root / split).glob('*.tfrecord*'))
  ]
  if not items:
    raise UserError(f'{root} holds no train/*.tfrecords; name the unpacked softmotion30_44k')
  return Listing(items, items_per_shard=1)


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Reads the recordings of one camera, with 4-dimensional actions."""
  camera = options.camera or _CAMERAS[0]  # used in the video prediction papers
  steps = np.arange(0, _N_FRAMES, options.frame_skip)
  try:
    for record in tf.data.TFRecordDataset(item.path).as_numpy_iterator():
      features = tf.train.Example.FromString(record).features.feature
      images = [features[f'{t}/{camera}/encoded'].bytes_list.value[0] for t in steps]
      actions = [features[f'{t}/action'].float_list.value for t in range(_N_FRAMES)]
      frames = [np.frombuffer(image, np.uint8).reshape(_SIZE) for image in images]
      yield RawClip(frames, between(np.array(actions, np.float32), steps))
  except (tf.errors.DataLossError, IndexError) as error:
    raise UnusableError(f'breaks off ({str(error).splitlines()[0]})') from error
