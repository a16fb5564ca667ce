"""PyTorch checkpoint files, read and written without PyTorch.

There are two formats. Since PyTorch 1.6 a checkpoint is a zip: `NAME/data.pkl` is a pickle that
refers to storages, and `NAME/data/KEY` holds the raw bytes of a storage. The legacy format is one
stream: a few small pickles, the main pickle, the list of keys, then the length and bytes of each
storage.
"""

import os
import zipfile
from collections.abc import Mapping

import numpy as np

from videogpt_jax import files
from videogpt_jax.errors import UserError
from videogpt_jax.interop import torch_pickle

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_checkpoint(path: str | os.PathLike):
  """Reads a PyTorch checkpoint (`torch.save`), zip or legacy, without running its code.

  Args:
    path: the file (`.ckpt`, `.pt`, `.pth`).
  Returns:
    the saved object: nested dicts, lists, tuples, strings, numbers and `argparse.Namespace`, with
    tensors and parameters as read-only numpy arrays (bfloat16 as ml_dtypes.bfloat16).
  Raises:
    FileNotFoundError: there is no such file.
    UserError: the file is truncated, is no checkpoint, or names a class or function other than
      tensors and plain containers.
  """
  with open(path, 'rb') as file:
    try:
      if file.read(2) == b'PK':
        return _read_zip(file)
      file.seek(0)
      return _read_legacy(file)
    except Exception as error:  # a damaged or forged file may fail anywhere in zipfile
      raise UserError(
        f'cannot read {os.fspath(path)} as a PyTorch checkpoint: {error}; '
        'give an intact file written by torch.save'
      ) from error


def is_torchscript(path: str | os.PathLike) -> bool:
  """Returns whether a file was written by `torch.jit.save`."""
  if not zipfile.is_zipfile(path):
    return False
  with zipfile.ZipFile(path) as archive:
    return any('/code/' in name for name in archive.namelist())


def read_torchscript(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the parameters and buffers of a TorchScript file, without its code.

  Returns:
    name -> array, by attribute path (`Mixed_3b.b0.conv3d.weight`), in the order of the file.
  Raises:
    FileNotFoundError, UserError: as for `read_checkpoint`; or the file holds no module.
  """
  module = read_checkpoint(path)
  if not isinstance(module, torch_pickle.ScriptedModule):
    raise UserError(f'{os.fspath(path)} holds no TorchScript module')
  return dict(_tensors(module, ''))


def _tensors(module: torch_pickle.ScriptedModule, prefix: str):
  for name, value in vars(module).items():
    if isinstance(value, np.ndarray):
      yield prefix + name, value
    elif isinstance(value, torch_pickle.ScriptedModule):
      yield from _tensors(value, f'{prefix}{name}.')


def _read_zip(file):
  with zipfile.ZipFile(file) as archive:
    members = {info.filename: info for info in archive.infolist()}
    unpacked = sum(info.file_size for info in archive.infolist())
    files.check_unpacked(unpacked, os.fstat(file.fileno()).st_size)
    roots = [name[: -len('data.pkl')] for name in members if name.count('/') <= 1]
    roots = [root for root in roots if f'{root}data.pkl' in members]
    if len(roots) != 1:
      raise ValueError(f'the zip should hold one data.pkl and holds {len(roots)}')
    root = roots[0]
    order = '<'
    if f'{root}byteorder' in members:
      order = {b'little': '<', b'big': '>'}[archive.read(f'{root}byteorder')]
    storages = {}

    def storage(key: str, dtype: np.dtype, size: int) -> np.ndarray:
      if key not in storages:
        info = members.get(f'{root}data/{key}')
        if info is None:
          raise ValueError(f'storage {key} is missing')
        if info.file_size != size * dtype.itemsize:
          raise ValueError(
            f'storage {key} has {info.file_size} bytes, not {size} elements of {dtype}'
          )
        storages[key] = np.frombuffer(archive.read(info), dtype.newbyteorder(order))
      return storages[key]

    with archive.open(f'{root}data.pkl') as pickled:
      return torch_pickle.load(pickled, storage)


def _read_legacy(file):
  size_of_file = os.fstat(file.fileno()).st_size
  storages: dict[str, np.ndarray] = {}

  def storage(key: str, dtype: np.dtype, size: int) -> np.ndarray:
    """Allocates a storage, whose bytes are read after the pickle."""
    if not 0 <= size * dtype.itemsize <= size_of_file:
      raise ValueError(f'storage {key} has {size} elements of {dtype}, more than the file')
    return storages.setdefault(key, np.empty(size, dtype))

  def no_storage(*_):
    raise ValueError('it refers to a storage where none is allowed')

  if torch_pickle.load(file, no_storage) != _LEGACY_MAGIC:
    raise ValueError('it is neither a zip nor a legacy checkpoint')
  if torch_pickle.load(file, no_storage) != _LEGACY_PROTOCOL:
    raise ValueError('its legacy protocol is unknown')
  if not torch_pickle.load(file, no_storage)['little_endian']:
    raise ValueError('it was written on a big-endian machine')
  tree = torch_pickle.load(file, storage)
  for key in torch_pickle.load(file, no_storage):
    n = int.from_bytes(file.read(8), 'little')
    if key not in storages or n != storages[key].size:
      raise ValueError(f'storage {key} has {n} elements, which contradicts its tensors')
    if file.readinto(storages[key].view(np.uint8)) != storages[key].nbytes:
      raise ValueError(f'the file ends inside storage {key}')
    storages[key].flags.writeable = False
  return tree


def write_checkpoint(path: str | os.PathLike, tree: Mapping):
  """Writes a checkpoint that `torch.load` reads.

  `torch.load(weights_only=True)` of a Namespace needs `torch.serialization.add_safe_globals`.

  Args:
    path: the file to write.
    tree: nested containers as `read_checkpoint` returns them.
  Raises:
    ValueError: a checkpoint cannot hold an object in the tree.
  """
  storages: dict[int, tuple[str, np.ndarray]] = {}

  def add_storage(x: np.ndarray) -> str:
    """Stores an array once even if it occurs several times, such as the causal mask."""
    key, _ = storages.setdefault(id(x), (str(len(storages)), x))
    return key

  pickled = torch_pickle.dump(tree, add_storage)
  root = os.path.splitext(os.path.basename(path))[0] or 'archive'
  temporary = f'{os.fspath(path)}.tmp'
  with zipfile.ZipFile(temporary, 'w', zipfile.ZIP_STORED) as archive:
    archive.writestr(f'{root}/data.pkl', pickled)
    archive.writestr(f'{root}/byteorder', 'little')
    for key, x in storages.values():
      archive.writestr(f'{root}/data/{key}', x.astype(x.dtype.newbyteorder('<')).tobytes())
    archive.writestr(f'{root}/version', '3\n')
  os.replace(temporary, path)
