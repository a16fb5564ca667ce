"""Settings from files of strangers: types are checked before values, and sizes before memory is
taken for them.
"""

import dataclasses
import difflib
import math
import re
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any

from videogpt_jax.errors import UserError

LARGEST = 2**31 - 1
"""The largest whole number: all of them become int32 somewhere."""

LONGEST = 16
"""The most entries of a list."""

LONGEST_TEXT = 4096
"""Letters of a text, which may be a path."""

_NAMES = {
  int: 'a whole number',
  float: 'a finite number',
  bool: 'true or false',
  str: 'text',
  dict: 'a table of keys and values',
  types.NoneType: 'none',
}


def build(section: type, values: Any, path: str) -> Any:
  """Returns a dataclass whose fields, sections in it included, have the types of their hints.

  Args:
    section: the dataclass.
    values: a mapping of names of fields to values; lists may stand for tuples.
    path: that messages name it by.
  Raises:
    UserError: a key is unknown, or a value of another type, or what the dataclass itself refuses.
  """
  hints = typing.get_type_hints(section)
  if not hasattr(values, 'items'):
    raise _refusal(values, dict, path)
  arguments = {}
  for key, value in values.items():
    if key not in hints:
      near = difflib.get_close_matches(str(key)[:60], hints, 1)
      hint = f'did you mean {near[0]!r}?' if near else f'keys here: {", ".join(hints)}'
      raise UserError(f'unknown key {path}.{str(key)[:60]}; {hint}')
    arguments[key] = read(value, hints[key], f'{path}.{key}')
  try:
    return section(**arguments)
  except UserError as error:  # a section of which there are several does not know its own name
    if re.split(r'\W', str(error))[0] not in hints:
      raise
    raise UserError(f'{path.removeprefix("config.")}.{error}') from None


def read(value: Any, hint: Any, name: str) -> Any:
  """Returns a value that has the type of a hint; a list becomes a tuple.

  Args:
    value: from a file.
    hint: int, float (which a whole number is, too), bool, str, None, dict, a dataclass, a tuple of
      fixed or free length, or a union of these.
    name: that messages name it by.
  Raises:
    UserError: it is of another type, not finite, or too large or long for any use.
  """
  if dataclasses.is_dataclass(hint):
    return build(hint, value, name)
  if isinstance(hint, types.UnionType):
    for kind in typing.get_args(hint):
      if _is(value, kind):
        return read(value, kind, name)
    raise _refusal(value, hint, name)
  if not _is(value, hint):
    raise _refusal(value, hint, name)
  if typing.get_origin(hint) is tuple:
    if len(value) > LONGEST:
      raise UserError(f'{name} has {len(value)} entries, and {LONGEST} are the most')
    return tuple(
      read(x, kind, f'{name}[{i}]')
      for i, (x, kind) in enumerate(zip(value, _entries(hint, len(value)), strict=True))
    )
  if hint is str and len(value) > LONGEST_TEXT:
    raise UserError(f'{name} has {len(value)} characters, and {LONGEST_TEXT} are the most')
  if hint in (int, float) and abs(value) > (LARGEST if isinstance(value, int) else math.inf):
    raise UserError(f'{name} ({_shown(value)}) is too large; {LARGEST} is the most')
  return value


def at_most(path: str, config: Any, limits: Mapping[str, int]):
  """Refuses sizes of a dataclass that no memory would hold (UserError).

  Args:
    path: of the dataclass, for messages.
    config: the dataclass.
    limits: the most that each of its fields may be.
  """
  for name, most in limits.items():
    if getattr(config, name) > most:
      raise UserError(f'{path}.{name} ({_shown(getattr(config, name))}) must be at most {most}')


def _is(value: Any, hint: Any) -> bool:
  """Whether a value has the type of a hint; the entries of a tuple are not looked at."""
  if typing.get_origin(hint) is tuple:
    if not isinstance(value, list | tuple):
      return False
    kinds = typing.get_args(hint)
    return kinds[-1] is Ellipsis or len(kinds) == len(value)
  if hint is float:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, hint)


def _entries(hint: Any, n: int) -> tuple[Any, ...]:
  kinds = typing.get_args(hint)
  return (kinds[0],) * n if kinds[-1] is Ellipsis else kinds


def _described(hint: Any) -> str:
  if isinstance(hint, types.UnionType):
    return ' or '.join(_described(kind) for kind in typing.get_args(hint))
  if typing.get_origin(hint) is tuple:
    kinds = typing.get_args(hint)
    length = 'a list' if kinds[-1] is Ellipsis else f'a list of {len(kinds)}'
    return f'{length}, each {_described(kinds[0])}'
  return _NAMES[hint]


def _refusal(value: Any, hint: Any, name: str) -> UserError:
  return UserError(f'{name} ({_shown(value)}) must be {_described(hint)}')


def _shown(value: Any) -> str:
  """Returns a value for a message, however long it is."""
  try:
    return reprlib.repr(value)
  except ValueError:  # Python refuses to print whole numbers of thousands of digits
    return f'{type(value).__name__} of very many digits'
