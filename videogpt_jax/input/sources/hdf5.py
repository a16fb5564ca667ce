"""The HDF5 layout that the published implementation reads.

`train_data` uint8 [n_frames h w 3] holds the frames of all training recordings one after another,
`train_idx` int [n] where each begins; `test_data` and `test_idx` likewise.
"""

import functools
import pathlib

import h5py
import numpy as np
import tensorflow as tf

from videogpt_jax.input.clips import Clips, tell_skipped
from videogpt_jax.input.config import DatasetConfig


def clips(config: DatasetConfig, split: str) -> Clips:
  """The recordings of a split that are long enough.

  Raises:
    ValueError: the file is missing or not of this layout, or no recording is long enough.
  """
  data, begins, ends = _open(config.path, split)
  needed = (config.sequence_length - 1) * config.frame_skip + 1
  long_enough = ends - begins >= needed
  skipped = tuple(
    f'{split} recording {i}: {ends[i] - begins[i]} frames, a clip needs {needed}'
    for i in np.flatnonzero(~long_enough)
  )
  begins, ends = begins[long_enough], ends[long_enough]
  tell_skipped(config.path, skipped, len(begins))

  def load(number, start):
    first = begins[number] + int(start * (ends[number] - begins[number] - needed + 1))
    return data[first : first + needed : config.frame_skip]

  def read(number, start):
    frames = tf.numpy_function(load, [number, start], tf.uint8, stateful=False)
    return {'video': tf.ensure_shape(frames, (config.sequence_length, *data.shape[1:]))}

  return Clips(len(begins), read, lengths=ends - begins, skipped=skipped)


@functools.lru_cache(maxsize=8)
def _open(path, split) -> tuple[h5py.Dataset, np.ndarray, np.ndarray]:
  """The frames, and where each recording begins and ends."""
  if not pathlib.Path(path).is_file():
    raise ValueError(f'dataset.path ({path}) is no file; name an HDF5 file')
  if not h5py.is_hdf5(path):
    raise ValueError(f'dataset.path ({path}) is not HDF5, or cut short; make or fetch it again')
  file = h5py.File(path, 'r')
  keys = (f'{split}_data', f'{split}_idx')
  if missing := [key for key in keys if key not in file]:
    raise ValueError(
      f'dataset.path ({path}) lacks {" and ".join(missing)}, it has {", ".join(file) or "nothing"};'
      ' write train_data, train_idx, test_data and test_idx'
    )
  data, begins = file[keys[0]], file[keys[1]][()]
  if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] not in (1, 3):
    raise ValueError(
      f'{keys[0]} in {path} is {data.dtype} {data.shape}; it must be uint8 [frames, height, '
      'width, 3]'
    )
  ends = np.append(begins[1:], len(data))
  if not len(begins) or begins[0] < 0 or (ends < begins).any():
    raise ValueError(
      f'{keys[1]} in {path} must rise from 0 to at most the {len(data)} frames of {keys[0]}'
    )
  return data, begins, ends
