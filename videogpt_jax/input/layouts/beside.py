"""Actions and labels beside a recording: in a.npy, a.npz, a.csv, a.jsonl, a.json or a.cls."""

import csv
import io
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from videogpt_jax import numpy_file
from videogpt_jax.errors import UserError
from videogpt_jax.input.faults import CONTENT_FAULTS, printable, told
from videogpt_jax.input.layouts.text import delimiter, text_of
from videogpt_jax.input.recording import BrokenRecordingError

ACTION_KEYS = ('actions', 'action')
LABEL_KEYS = ('label', 'class', 'labels')
_COUNTERS = {'', 'frame', 'frame_index', 'index', 'step', 'time', 'timestamp', 't'}
_SUFFIXES = ('.npy', '.npz', '.csv', '.jsonl', '.json', '.cls')
_STEMS = ('{}', '{}.actions', '{}_actions', '{}/actions')


class Beside(NamedTuple):
  """What lies beside a recording: actions as `actions.settle` takes them, and a class."""

  actions: np.ndarray | None = None
  label: str | None = None


def beside(root: pathlib.Path, stem: str, names: Collection[str], action_key: str) -> Beside:
  """Returns what lies beside a recording.

  Args:
    root: folder of the data set.
    stem: path of the recording without its suffix.
    names: all files of the data set.
    action_key: array, key or columns (divided by commas) of the actions; '' finds them by name.
  Raises:
    BrokenRecordingError: such a file cannot be read.
    UserError: none has the key.
  """
  there = (pattern.format(stem) + suffix for pattern in _STEMS for suffix in _SUFFIXES)
  return gather(((name, _content(root / name)) for name in there if name in names), action_key)


def gather(files: Iterable[tuple[str, bytes]], action_key: str) -> Beside:
  """Returns what some files say together, each given by its name and content: the first that does.

  Raises:
    BrokenRecordingError: one cannot be read.
    UserError: none has the key.
  """
  actions = label = lacking = None
  for name, content in files:
    suffix, shown = os.path.splitext(name)[1].lower(), printable(name)
    try:
      found = read(suffix, content, action_key, shown)
    except BrokenRecordingError:
      raise
    except UserError as error:  # another file may have it
      lacking = lacking or error
      found = Beside(label=read(suffix, content, '', shown).label)
    actions = found.actions if actions is None else actions
    label = label or found.label
  if actions is None and lacking:
    raise lacking
  return Beside(actions, label)


def _content(file: pathlib.Path) -> bytes:
  with told(f'{printable(file.name)} cannot be read'):
    return file.read_bytes()


def read(suffix: str, content: bytes, action_key: str, name: str) -> Beside:
  """Reads a file that lies beside a recording, given by its suffix and content.

  Raises:
    BrokenRecordingError: it cannot be read.
    UserError: it has no such key.
  """

  with told(f'{name} cannot be read', CONTENT_FAULTS):
    if suffix == '.npy':
      return Beside(numpy_file.read_npy(io.BytesIO(content), name))
    if suffix == '.npz':
      with numpy_file.open_npz(io.BytesIO(content), name) as file:
        return _of_mapping(dict(file), action_key, name)
    text = text_of(content)
    if suffix == '.cls':
      return Beside(label=text.strip())
    if suffix == '.csv':
      return Beside(_of_rows(_cells(text.splitlines()), action_key, name))
    if suffix == '.jsonl':
      frames = [json.loads(line) for line in text.splitlines() if line.strip()]
      return _of_frames(frames, action_key, name)
    value = json.loads(text)
    return (
      _of_frames(value, action_key, name)
      if isinstance(value, list)
      else _of_mapping(value, action_key, name)
    )


def _cells(lines: Sequence[str]) -> list[list[str]]:
  """Returns the cells of a table; where semicolons divide them, commas are those of numbers."""
  sign = delimiter(lines)
  rows = list(csv.reader(lines, delimiter=sign))
  if sign != ';':
    return rows
  return [[re.sub(r'^([-+]?\d*),(\d+)$', r'\1.\2', cell.strip()) for cell in row] for row in rows]


def _of_frames(frames, action_key, name) -> Beside:
  if not frames or not isinstance(frames[0], Mapping):
    return Beside(np.array(frames))
  key = choose(frames[0], action_key, ACTION_KEYS, name)
  if key is None:
    return Beside()
  if lacking := [i for i, frame in enumerate(frames) if key not in frame]:
    raise BrokenRecordingError(f'{name} has no {key!r} for frame {lacking[0]}')
  return Beside(np.array([frame[key] for frame in frames]))


def _of_mapping(values: Mapping[str, Any], action_key, name) -> Beside:
  if not isinstance(values, Mapping):
    return Beside()
  key = choose(values, action_key, ACTION_KEYS, name)
  if key is None and len(values) == 1 and isinstance(next(iter(values.values())), np.ndarray):
    key = next(iter(values))
  label = next((str(values[key]) for key in LABEL_KEYS if np.ndim(values.get(key, [])) == 0), None)
  return Beside(None if key is None else np.array(values[key]), label)


def choose(keys: Collection[str], wanted: str, usual: Collection[str], name: str) -> str | None:
  """Returns the key that is wanted, or the first usual one that is there.

  Raises:
    UserError: the one that is wanted is missing; the message lists those there are.
  """
  if wanted and wanted not in keys:
    raise UserError(f'{name} has no {wanted!r}; it has {", ".join(map(str, keys))}')
  return wanted or next((key for key in usual if key in keys), None)


def _of_rows(rows, action_key, name):
  """Returns the actions in a table: by columns, else those named action..., else all numbers."""
  rows = [row for row in rows if row]
  if not rows:
    return None
  if all(_is_number(cell) for cell in rows[0]):
    return _numbers(rows)
  head, rows = [cell.strip() for cell in rows[0]], rows[1:]
  wanted = [column.strip() for column in action_key.split(',')] if action_key else []
  if missing := [column for column in wanted if column not in head]:
    raise UserError(f'{name} has no column {", ".join(missing)}; it has {", ".join(head)}')
  columns = wanted or [column for column in head if column.lower().startswith('action')]
  columns = columns or [column for column in head if column.lower() not in _COUNTERS]
  places = [head.index(column) for column in columns]
  if short := [i for i, row in enumerate(rows) if len(row) <= max(places, default=0)]:
    raise BrokenRecordingError(f'{name} has too few columns in row {short[0]}')
  return _numbers([[row[place] for place in places] for row in rows])


def _numbers(rows):
  """Returns a table as whole numbers, else as floats, else as text."""
  for kind in (np.int64, np.float32):
    try:
      return np.array(rows).astype(kind)
    except ValueError:
      continue
  return np.array(rows)


def _is_number(cell):
  try:
    float(cell)
  except ValueError:
    return False
  return True
