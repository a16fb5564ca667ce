"""The pickles inside PyTorch checkpoints, read and written without PyTorch.

A pickle is a program. This reader resolves every name in it through one table, and refuses any
other name before anything is imported or run (restricted_pickle.py).
"""

import argparse
import collections
import functools
import io
import pickle
import reprlib
import struct
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

from videogpt_jax.interop import restricted_pickle

# PyTorch's name for a typed storage, and the dtype of its elements.
STORAGE_DTYPES = {
  'FloatStorage': np.dtype(np.float32),
  'DoubleStorage': np.dtype(np.float64),
  'HalfStorage': np.dtype(np.float16),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype(np.int64),
  'IntStorage': np.dtype(np.int32),
  'ShortStorage': np.dtype(np.int16),
  'CharStorage': np.dtype(np.int8),
  'ByteStorage': np.dtype(np.uint8),
  'BoolStorage': np.dtype(np.bool_),
}
_STORAGE_NAMES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}


class InertName(NamedTuple):
  """Name of a Lightning class or function in a checkpoint; it cannot be called.

  Lightning 1.x uses classes as keys of a checkpoint's `callbacks` and may store a function in the
  arguments, so published files contain such names.
  """

  module: str
  name: str


class ScriptedModule:
  """A module of a TorchScript file: its attributes, without its code."""


def _strided(storage, offset, size, stride, *_):
  """Returns a strided, read-only view of the flat `storage`."""
  size, stride = tuple(size), tuple(stride)
  if len(size) != len(stride) or min((offset, *size, *stride), default=0) < 0:
    sizes = f'size {reprlib.repr(size)}, stride {reprlib.repr(stride)} and offset {offset}'
    raise ValueError(f'a tensor has {sizes}')
  last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
  if 0 not in size and last >= storage.size:
    raise ValueError(
      f'a tensor of size {size}, stride {stride} and offset {offset} '
      f'does not fit its storage of {storage.size} elements'
    )
  if 0 in size:
    return np.zeros(size, storage.dtype)
  strides = [step * storage.itemsize for step in stride]
  return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _as_list(items, *_):
  """Converts TorchScript's typed lists to lists."""
  return items


def _the_data(data, *_):
  """Returns the data of an nn.Parameter, without gradient flag and hooks."""
  return data


class _Unpickler(restricted_pickle.Unpickler):
  """Accepts tensors, plain containers and `argparse.Namespace` only."""

  def __init__(self, file, storage: Callable):
    self._storage = storage
    # A pickle can set attributes of the objects it names, so each reader has its own copies.
    strided, the_data = functools.partial(_strided), functools.partial(_the_data)
    names = {
      ('argparse', 'Namespace'): type('Namespace', (argparse.Namespace,), {}),
      ('collections', 'OrderedDict'): collections.OrderedDict,
      ('torch', 'Size'): tuple,
      ('torch._utils', '_rebuild_tensor'): strided,
      ('torch._utils', '_rebuild_tensor_v2'): strided,
      ('torch._utils', '_rebuild_parameter'): the_data,
      ('torch._utils', '_rebuild_parameter_with_state'): the_data,
    }
    for module in ('builtins', '__builtin__'):
      names |= {(module, kind.__name__): kind for kind in (dict, list, tuple, set, frozenset)}
    names |= {('torch', name): dtype for name, dtype in STORAGE_DTYPES.items()}
    for kind in ('intlist', 'doublelist', 'boollist', 'tensorlist'):
      names['torch.jit._pickle', f'build_{kind}'] = functools.partial(_as_list)
    names['torch.jit._pickle', 'restore_type_tag'] = functools.partial(_as_list)
    super().__init__(file, names, 'a tensor or a plain container')

  def find_class(self, module, name):
    if module.split('.')[0] in ('pytorch_lightning', 'lightning'):
      return InertName(module, name)
    if module.split('.')[0] == '__torch__':  # a class defined in the TorchScript file
      return type(name, (ScriptedModule,), {})
    return super().find_class(module, name)

  def persistent_load(self, pid):
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == 'storage'):
      raise ValueError(f'it refers to {reprlib.repr(pid)} where a storage is expected')
    _, dtype, key, _, size, *view = pid
    if not (isinstance(dtype, np.dtype) and isinstance(key, str) and isinstance(size, int)):
      raise ValueError(f'it refers to {reprlib.repr(pid)} where a storage is expected')
    storage = self._storage(key, dtype, size)
    if view and view[0] is not None:  # legacy files: a part of a storage, as (key, offset, size)
      _, offset, size = view[0]
      storage = storage[offset : offset + size]
    return storage


def load(file, storage: Callable[[str, np.dtype, int], np.ndarray]):
  """Reads one pickle from `file`.

  Args:
    file: a binary file, at the start of the pickle.
    storage: returns the flat array of a storage, by (key, dtype, number of elements).
  Returns:
    nested dicts, lists, tuples, sets, strings, numbers and `argparse.Namespace`; tensors as
    read-only numpy arrays; Lightning's names as `InertName`; modules as `ScriptedModule`.
  Raises:
    ValueError: the pickle names another object, or is damaged.
  """
  return restricted_pickle.load(lambda: _Unpickler(file, storage))


def dump(tree, add_storage: Callable[[np.ndarray], str]) -> bytes:
  """Writes `tree` as a pickle that `torch.load` reads.

  Args:
    tree: nested dict, OrderedDict, list, tuple, Namespace, str, bool, int, float, None and numpy
      arrays or scalars of a dtype in STORAGE_DTYPES.
    add_storage: stores the bytes of an array and returns their key.
  Returns:
    the pickle, protocol 2.
  Raises:
    ValueError: the tree holds another object.
  """
  out = io.BytesIO()
  out.write(pickle.PROTO + b'\x02')
  _put(out.write, tree, add_storage)
  out.write(pickle.STOP)
  return out.getvalue()


def _put(write, x, add_storage):
  """Writes opcodes that push `x` on the stack of the pickle machine."""
  put = lambda x: _put(write, x, add_storage)
  if type(x) is str:
    text = x.encode('utf-8', 'surrogatepass')
    write(pickle.BINUNICODE + struct.pack('<I', len(text)) + text)
  elif x is None or type(x) in (bool, int, float):
    write(pickle.dumps(x, protocol=2)[2:-1])  # less PROTO 2 and STOP
  elif isinstance(x, (np.ndarray, np.generic)):
    _put_tensor(write, x, add_storage)
  elif isinstance(x, argparse.Namespace):
    write(_name('argparse', 'Namespace') + pickle.EMPTY_TUPLE + pickle.NEWOBJ)
    put(dict(vars(x)))
    write(pickle.BUILD)
  elif isinstance(x, dict):
    is_ordered = isinstance(x, collections.OrderedDict)
    write(_ORDERED_DICT if is_ordered else pickle.EMPTY_DICT)
    write(pickle.MARK)
    for key, value in x.items():
      put(key)
      put(value)
    write(pickle.SETITEMS)
  elif type(x) in (list, tuple):
    write(pickle.EMPTY_LIST if type(x) is list else b'')
    write(pickle.MARK)
    for value in x:
      put(value)
    write(pickle.APPENDS if type(x) is list else pickle.TUPLE)
  else:
    raise ValueError(f'a checkpoint cannot hold {x!r} of type {type(x).__name__}')


def _put_tensor(write, x, add_storage):
  if x.dtype not in _STORAGE_NAMES:
    names = ', '.join(str(dtype) for dtype in STORAGE_DTYPES.values())
    raise ValueError(f'a checkpoint cannot hold a tensor of dtype {x.dtype}; use one of {names}')
  put = lambda x: _put(write, x, add_storage)
  strides = tuple(int(np.prod(x.shape[i + 1 :])) for i in range(x.ndim))
  write(_name('torch._utils', '_rebuild_tensor_v2') + pickle.MARK)
  write(pickle.MARK)
  put('storage')
  write(_name('torch', _STORAGE_NAMES[x.dtype]))
  put(add_storage(x))
  put('cpu')
  put(x.size)
  write(pickle.TUPLE + pickle.BINPERSID)
  for argument in (0, x.shape, strides, False):  # offset, size, stride, requires_grad
    put(argument)
  write(_ORDERED_DICT)  # no backward hooks
  write(pickle.TUPLE + pickle.REDUCE)


def _name(module: str, name: str) -> bytes:
  return pickle.GLOBAL + f'{module}\n{name}\n'.encode()


_ORDERED_DICT = _name('collections', 'OrderedDict') + pickle.EMPTY_TUPLE + pickle.REDUCE
