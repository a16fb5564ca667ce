"""An HDF5 file: the layout of `videogpt_jax.input.layouts.hdf5`, and no other."""

import pathlib

import h5py

from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.sources import folder


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the recordings of a split that are long enough.

  Raises:
    UserError: the file is missing or no HDF5, or no recording is long enough.
  """
  if not pathlib.Path(config.path).is_file():
    raise UserFileError(f'dataset.path ({config.path}) is no file; name an HDF5 file')
  if not h5py.is_hdf5(config.path):
    raise UserError(
      f'dataset.path ({config.path}) is not HDF5, or cut short; make or fetch it again'
    )
  return folder.clips(config, split)
