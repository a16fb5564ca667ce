"""Rows of lists: CSV, TSV, JSON, JSON lines and text, in the forms that data sets use."""

import csv
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from videogpt_jax.errors import UserError
from videogpt_jax.input.faults import CONTENT_FAULTS, told
from videogpt_jax.input.layouts.text import delimiter, text_of
from videogpt_jax.input.layouts.walk import VIDEOS, split_name, suffix

USUAL = {
  'path': (
    *('path', 'video', 'video_path', 'video_name', 'file', 'filename', 'file_name', 'filepath'),
    *('file_path', 'name', 'clip', 'id', 'video_id', 'youtube_id'),
  ),
  'label': ('template', 'label', 'class', 'class_name', 'category', 'action'),
  'split': ('split', 'set', 'subset', 'partition'),
}
"""Usual names of columns, the likeliest first; `dataset.columns` names others."""


class Row(NamedTuple):
  """A recording in a list.

  Attributes:
    paths: what may be its path, the likeliest first.
    label: its class as it is written, or None.
    split: as it is written, or None.
    others: names of the columns that are not used.
  """

  paths: tuple[str, ...]
  label: str | None = None
  split: str | None = None
  others: tuple[str, ...] = ()


def parse_columns(text: str) -> dict[str, str]:
  """Returns what `dataset.columns` says, such as 'path=clip, label=verb'.

  Raises:
    UserError: it is written otherwise.
  """
  pairs = [part.strip().partition('=') for part in text.split(',') if part.strip()]
  for key, sign, value in pairs:
    if key not in USUAL or not sign or not value:
      raise UserError(
        f"dataset.columns ({text!r}) must be like 'path=clip, label=verb, split=part'"
      )
  return {key: value for key, _, value in pairs}


def read_rows(file: pathlib.Path, columns: Mapping[str, str]) -> list[Row]:
  """Returns the recordings that a list names; none if the file says something else.

  Args:
    file: the list.
    columns: names of the columns that hold the path, the label and the split.
  Raises:
    BrokenRecordingError: the file cannot be read.
    UserError: a column of `columns` is missing; the message lists those there are.
  """
  with told('cannot be read as a list', CONTENT_FAULTS):
    text = text_of(file.read_bytes(), errors='surrogateescape')
    kind = suffix(file.name)
    if kind == '.json':
      return list(_of_json(json.loads(text), columns, file))
    if kind == '.jsonl':
      lines = [json.loads(line) for line in text.splitlines() if line.strip()]
      return list(_of_json(lines, columns, file))
    if kind == '.txt':
      return list(_of_text(text.splitlines()))
    lines = text.splitlines()
    return list(_of_table(lines, columns, file))


def _of_table(lines, columns, file) -> Iterator[Row]:
  rows = csv.reader(lines, delimiter=delimiter(lines))
  rows = [[cell.strip() for cell in row] for row in rows if row]
  known = {name for names in USUAL.values() for name in names} | set(columns.values())
  if rows and (columns or known & {cell.lower() for cell in rows[0]}):
    yield from _of_records(
      [dict(zip(rows[0], row, strict=False)) for row in rows[1:]], columns, file
    )
    return
  for row in rows:  # without a head: a path, then a class and a split, in some order
    split = next((cell for cell in row[1:] if split_name(cell)), None)
    label = next((cell for cell in row[1:] if cell and cell != split), None)
    yield Row((row[0],), label, split)


def _of_records(records: Sequence[Any], columns, file) -> Iterator[Row]:
  """Yields rows of records by name; texts among them are paths."""
  keys = list(dict.fromkeys(k for r in records if isinstance(r, Mapping) for k in r))
  for kind, column in columns.items():
    if column not in keys:
      raise UserError(
        f'dataset.columns names {kind}={column}, which {file} lacks; it has {", ".join(keys)}'
      )
  lower = {key.lower(): key for key in reversed(keys)}
  names = {
    kind: [columns[kind]] if kind in columns else [lower[name] for name in usual if name in lower]
    for kind, usual in USUAL.items()
  }
  used = {name for of_kind in names.values() for name in of_kind}
  others = tuple(str(key) for key in keys if key and key not in used)
  for record in records:
    if isinstance(record, str):
      yield Row((record,))
    elif isinstance(record, Mapping):
      first = lambda kind, record=record: next(
        (str(record[n]) for n in names[kind] if record.get(n) not in (None, '')), None
      )
      paths = [str(record[name]) for name in names['path'] if record.get(name) not in (None, '')]
      if label := first('label'):
        label = label.replace('[', '').replace(']', '')  # Something-Something's templates
      if paths:
        yield Row((*_kinetics(record), *paths), label, first('split'), others)


def _kinetics(record) -> Iterable[str]:
  """Yields the name that downloaders of Kinetics give a clip."""
  if {'youtube_id', 'time_start', 'time_end'} <= record.keys():
    begin, end = (int(float(record[key])) for key in ('time_start', 'time_end'))
    yield f'{record["youtube_id"]}_{begin:06d}_{end:06d}'


def _of_json(value, columns, file) -> Iterator[Row]:
  """Yields rows of a list of records, of lists by split, or of records or classes by path."""
  if isinstance(value, list):
    yield from _of_records(value, columns, file)
    return
  if not isinstance(value, Mapping):
    return
  inside = value.get('database')  # ActivityNet
  value = inside if isinstance(inside, Mapping) else value
  for key, item in value.items():
    if isinstance(item, list) and split_name(key):
      yield from (row._replace(split=row.split or key) for row in _of_records(item, columns, file))
    elif isinstance(item, Mapping):
      inner = item.get('annotations') or {}
      inner = inner[0] if isinstance(inner, list) and inner else inner
      record = {'path': key} | dict(item) | (dict(inner) if isinstance(inner, Mapping) else {})
      if 'segment' in record and len(record['segment']) == 2:  # Kinetics' annotations
        begin, end = record['segment']
        record |= {'youtube_id': key, 'time_start': begin, 'time_end': end}
      yield from _of_records([record], columns, file)
    elif isinstance(item, str | int):
      yield Row((key,), str(item))


def _of_text(lines) -> Iterator[Row]:
  """Yields rows of lines such as 'Archery/v_Archery_g01_c01.avi 3', or of paths alone.

  A folder of images may have the number of its frames before its class: 'clip_7 120 3'.
  """
  for line in map(str.strip, lines):
    words = line.replace('\t', ' ').replace(',', ' ').split()
    if not words:
      continue
    if suffix(line) in VIDEOS or len(words) == 1:
      yield Row((line,))
      continue
    split = words.pop() if split_name(words[-1]) else None
    label = words.pop() if len(words) > 1 else None
    paths = (' '.join(words),)
    if len(words) > 1 and words[-1].isdecimal():
      paths += (' '.join(words[:-1]),)
    yield Row(paths, label, split)
