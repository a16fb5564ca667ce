"""Pickles read without running them: names are looked up in a table, never imported.

Source: the Python documentation, pickle: "Restricting Globals".
"""

import pickle
import pickletools
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Name = tuple[str, str]
"""Module and name of an object in a pickle."""

_NUMBERING, _SPARE_NUMBERS = {'PUT', 'BINPUT', 'LONG_BINPUT'}, 1 << 16
"""Opcodes that number an object, and how far their numbers may exceed the count of opcodes."""

_ARRAY_KINDS = 'biufc'  # of numpy.dtype: values that own no Python objects


class Unpickler(pickle.Unpickler):
  """Reads a pickle that names nothing outside a table.

  Args:
    file: binary, at the start of the pickle.
    names: what each name in the pickle stands for.
    holds: what such a pickle holds, for messages.
  """

  def __init__(self, file, names: Mapping[Name, Any], holds: str):
    _check_memo(file)
    super().__init__(file, encoding='utf-8')
    self._names, self._holds = names, holds

  def find_class(self, module, name):
    if (module, name) in self._names:
      return self._names[module, name]
    raise ValueError(f'it names {module}.{name}, which is not {self._holds}')


def _check_memo(file):
  """Refuses a pickle that numbers an object far beyond their count (ValueError).

  Python makes room for all numbers up to the largest, which 4 bytes can make 32 GiB.
  """
  begin = file.tell()
  for count, (opcode, number, _) in enumerate(pickletools.genops(file)):
    if opcode.name in _NUMBERING and number > count + _SPARE_NUMBERS:
      raise ValueError(f'it numbers an object {number} that is the {count}th at most')
  file.seek(begin)


def load(make: Callable[[], pickle.Unpickler]) -> Any:
  """Returns the object of a pickle, read by the unpickler that `make` makes.

  Raises:
    ValueError: the pickle names another object, or is damaged.
  """
  try:
    return make().load()
  except ValueError:
    raise
  except Exception as error:  # a damaged pickle may fail anywhere in its stack machine
    raise ValueError(f'its pickle is damaged or misuses what it names ({error})') from error


def is_pickled_dict(path) -> bool:
  """Returns whether a file begins with a pickled dict."""
  with open(path, 'rb') as file:
    if file.peek(1)[:1] != pickle.PROTO:
      return False
    opcodes = (opcode.name for opcode, _, _ in pickletools.genops(file))
    return next(name for name in opcodes if name not in ('PROTO', 'FRAME')) == 'EMPTY_DICT'


def read_arrays(path) -> dict[str, np.ndarray]:
  """Reads a pickle of nested dicts whose leaves are numpy arrays.

  Returns:
    names of the dicts joined by '/' -> array.
  Raises:
    ValueError: the pickle holds anything else, or is damaged.
  """
  constructor: Callable = lambda *_: _Array()
  names = {('numpy', 'ndarray'): _Array, ('numpy', 'dtype'): _Dtype}
  for core in ('numpy.core.multiarray', 'numpy._core.multiarray'):
    names[core, '_reconstruct'] = constructor
  with open(path, 'rb') as file:
    tree = load(lambda: Unpickler(file, names, 'a numpy array'))
  if not isinstance(tree, dict):
    raise ValueError(f'it holds a {type(tree).__name__}, not a dict')
  return dict(_leaves(tree, ''))


def _leaves(tree: Any, prefix: str):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _leaves(value, f'{prefix}{name}/')
    elif isinstance(value, _Array):
      yield f'{prefix}{name}', value.array
    else:
      raise ValueError(f'it holds a {type(value).__name__} at {prefix}{name}, not an array')


class _Dtype:
  """Stands for a pickled numpy.dtype."""

  def __init__(self, code: str, *_):
    self.dtype = np.dtype(str(code))
    if self.dtype.kind not in _ARRAY_KINDS:
      raise ValueError(f'it holds an array of {reprlib.repr(code)}, which are not numbers')

  def __setstate__(self, state):
    self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
  """Stands for a pickled numpy array."""

  array = np.zeros(0)

  def __setstate__(self, state):
    _, shape, dtype, by_columns, data = state
    flat = np.frombuffer(data, dtype.dtype)
    self.array = flat.reshape(shape, order='F' if by_columns else 'C')
