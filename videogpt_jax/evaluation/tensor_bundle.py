"""Variables of a TensorFlow checkpoint, read without TensorFlow.

A checkpoint is `PREFIX.index`, a sorted table from names to entries (LevelDB's table format), and
`PREFIX.data-SSSSS-of-NNNNN`, the bytes of the tensors. Entries are protocol buffers, of which only
the fields below are read.
"""

import math
import os
import pathlib
import struct
from collections.abc import Iterator

import numpy as np

from videogpt_jax.errors import UserError, UserFileError

_MAGIC = 0xDB4775248B80FB57  # LevelDB table
_FOOTER_SIZE = 48
# tensorflow/core/framework/types.proto
_DTYPES = {1: '<f4', 2: '<f8', 3: '<i4', 9: '<i8', 19: '<f2'}
# tensorflow/core/protobuf/tensor_bundle.proto, BundleEntryProto
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5


def read_variables(index: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads all numeric variables.

  Args:
    index: the file `PREFIX.index`; the data files are in the same folder.
  Returns:
    name -> array.
  Raises:
    UserFileError: a data file is missing.
    UserError: the files are truncated, compressed, or not a checkpoint.
  """
  index = pathlib.Path(index)
  try:
    entries = {
      name: _fields(value) for name, value in _table(index.read_bytes()) if name
    }  # the empty name is the header
    shards = sorted(index.parent.glob(f'{index.stem}.data-*-of-*'))
    return {
      name.decode(): _read(shards, entry)
      for name, entry in entries.items()
      if entry.get(_DTYPE) in _DTYPES
    }
  except FileNotFoundError:  # UserFileErrors included
    raise
  except UserError as error:
    raise UserError(f'{index}: {error}') from error
  except Exception as error:  # a damaged index may fail anywhere in its protocol buffers
    raise UserError(
      f'cannot read {index} as the index of a TensorFlow checkpoint ({error!r}); '
      'give an intact file, with its data files beside it'
    ) from error


def _read(shards: list[pathlib.Path], entry: dict) -> np.ndarray:
  shard = entry.get(_SHARD, 0)
  if shard >= len(shards):
    raise UserFileError(f'data file {shard} of the checkpoint is missing beside its index')
  shape = [_fields(dim).get(1, 0) for dim in _repeated(entry.get(_SHAPE, b''), 2)]
  dtype, size = np.dtype(_DTYPES[entry[_DTYPE]]), entry[_SIZE]
  offset, there = entry.get(_OFFSET, 0), shards[shard].stat().st_size
  data = b''
  if 0 <= offset <= offset + size <= there:
    with open(shards[shard], 'rb') as file:
      file.seek(offset)
      data = file.read(size)
  if len(data) != size or size != dtype.itemsize * math.prod(shape):
    raise UserError(
      f'{shards[shard].name} should hold {size} bytes of a {shape} {dtype} and does not; '
      'give an intact file'
    )
  return np.frombuffer(data, dtype).reshape(shape)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
  """Yields the keys and values of a LevelDB table, in order."""
  footer = data[-_FOOTER_SIZE:]
  if len(footer) < _FOOTER_SIZE or struct.unpack('<Q', footer[-8:])[0] != _MAGIC:
    raise UserError('the index is truncated or is not the index of a TensorFlow checkpoint')
  _, position = _handle(footer, 0)  # the meta-index, which is empty
  blocks, _ = _handle(footer, position)
  for _, value in _block(data, *blocks):
    handle, _ = _handle(value, 0)
    yield from _block(data, *handle)


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
  if data[offset + size] != 0:
    raise UserError('the index is compressed; save the checkpoint again with TensorFlow 1.1+')
  block = data[offset : offset + size]
  n_restarts = struct.unpack('<I', block[-4:])[0]
  end = size - 4 - 4 * n_restarts
  position, key = 0, b''
  while position < end:
    shared, position = _varint(block, position)
    unshared, position = _varint(block, position)
    length, position = _varint(block, position)
    key = key[:shared] + block[position : position + unshared]
    position += unshared
    yield key, block[position : position + length]
    position += length


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
  offset, position = _varint(data, position)
  size, position = _varint(data, position)
  return (offset, size), position


def _fields(message: bytes) -> dict[int, int | bytes]:
  """Returns the last value of each field of a protocol buffer."""
  return dict(_each_field(message))


def _repeated(message: bytes, number: int) -> list[bytes]:
  return [value for field, value in _each_field(message) if field == number]


def _each_field(message: bytes) -> Iterator[tuple[int, int | bytes]]:
  position = 0
  while position < len(message):
    tag, position = _varint(message, position)
    wire = tag & 7
    if wire == 0:
      value, position = _varint(message, position)
    else:
      if wire == 2:
        size, position = _varint(message, position)
      else:
        size = {1: 8, 5: 4}[wire]
      value = message[position : position + size]
      position += size
    yield tag >> 3, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    byte = data[position]
    position += 1
    if shift > 63:
      raise UserError('the index holds a number of more than 64 bits; give an intact file')
    value |= (byte & 127) << shift
    if byte < 128:
      return value, position
    shift += 7
