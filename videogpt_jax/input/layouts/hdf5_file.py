"""Arrays in HDF5 files from strangers: read where they lie, and no larger than the file lets be."""

import os

import h5py

from videogpt_jax.errors import UserError
from videogpt_jax.files import check_unpacked


def array(file: h5py.File, key: str) -> h5py.Dataset:
  """Returns an array of a file.

  Raises:
    UserError: it lies in another file, or claims far more numbers than this one can hold.
  """
  found = file[key]
  name = f'{file.filename}:{key}'
  if not isinstance(found, h5py.Dataset) or found.shape is None:  # h5py.Empty
    raise UserError(f'{name} is no array')
  # By a link, as raw bytes, or as parts.
  if found.file.filename != file.filename or found.external or found.is_virtual:
    raise UserError(f'{name} lies in another file, which is not read; copy it into this one')
  try:
    check_unpacked(found.nbytes, os.path.getsize(file.filename))
  except ValueError as error:
    raise UserError(f'{name} claims more than the file holds ({error})') from None
  return found
