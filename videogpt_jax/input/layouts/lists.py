"""Lists that say which recordings there are, and of which class and split.

Known by their form: tables with a path, a label and a split; UCF-101's trainlist01.txt and
testlist01.txt with classInd.txt; Something-Something's train.json and validation.json; Kinetics'
train.csv with youtube_id, time_start and time_end. What they list may be videos, folders of images
or arrays.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable, told
from videogpt_jax.input.layouts import arrays, image_folders, videos
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, count, left_out, some
from videogpt_jax.input.layouts.list_files import Row, parse_columns, read_rows
from videogpt_jax.input.layouts.text import readable, text_of
from videogpt_jax.input.layouts.walk import (
  ARRAYS,
  IMAGES,
  LISTS,
  NO_VIDEOS,
  VIDEOS,
  Tree,
  existing,
  look,
  split_name,
  split_of_file,
  stem,
  suffix,
)

_MAX_LISTS = 50  # more files of this kind belong to one recording each
_STRICTEST = ('test', 'val', 'train', None)  # of a recording in two splits


def find(tree: Tree, config: DatasetConfig) -> tuple[Layout | None, list[Skipped]]:
  """Returns the recordings that lists name, if there are any, and lists that are of no use.

  Raises:
    UserError: the one list, or a column in all of them, names nothing that is there.
  """
  names = _candidates(tree)
  if not names:
    return None, []
  read, unused = _read(tree, names, parse_columns(config.columns))
  read, remarks = _one_of_the_official(read)
  finder = _Finder(look(str(tree.root)) if tree.lone else tree)
  units, missing = {}, {}
  for name, rows in read.items():
    found = [(row, finder.find(row, name)) for row in rows]
    if _is_list(found):
      missing |= {row.paths[0]: name for row, unit in found if not unit}
      _merge(units, [(unit, _finished(row, name)) for row, unit in found if unit], remarks)
    elif _says_it_is_one(name, rows):
      unused.append(Skipped(printable(name), _none_there(rows)))
  if units and (tree.lone or config.columns or finder.covers(units, read)):
    return _layout(finder, units, missing, remarks, config), unused
  if tree.lone:
    rows = read.get(names[0])
    problem = _none_there(rows) if rows else 'names no recordings; it must have a path in each line'
    raise UserError(f'{printable(tree.root / names[0])} {unused[0].reason if unused else problem}')
  return None, unused


def _read(tree, names, columns) -> tuple[dict[str, list[Row]], list[Skipped]]:
  """Returns the rows of lists, by name, and those that cannot be read."""
  read, problems = {}, []
  for name in names:
    try:
      read[name] = read_rows(tree.root / name, columns)
    except UserError as error:
      problems.append((printable(name), error))
  read = {name: rows for name, rows in read.items() if rows}
  return read, left_out(problems, read)


def _says_it_is_one(name: str, rows: Sequence[Row]) -> bool:
  """Whether a file looks like a list, though nothing that it names is there."""
  n = sum(1 for row in rows if suffix(row.paths[0]) in VIDEOS | ARRAYS)
  named = (
    split_of_file(name) if suffix(name) != '.txt' else split_name(stem(os.path.basename(name)))
  )
  return 2 * n > len(rows) or named is not None


def _none_there(rows: Sequence[Row]) -> str:
  listed = [printable(row.paths[0]) for row in rows]
  return (
    f'names {count(len(listed), "file")}, none of which is there: {some(listed, 3)}; paths in a '
    'list are relative to it, and dataset.columns names the column that holds them'
  )


def _is_list(found) -> bool:
  """Whether rows name recordings that are there, and are not the words of some other text."""
  words = [row for row, unit in found if not unit and '/' not in row.paths[0]]
  words = [row for row in words if suffix(row.paths[0]) not in VIDEOS]
  return sum(1 for _, unit in found if unit) > (len(words) if len(words) < len(found) / 2 else 0)


def _candidates(tree) -> list[str]:
  """Returns files that may be lists: near the top, and not beside a recording."""
  names = tree.named(LISTS)
  if tree.lone:
    return names
  taken = {stem(name) for name in tree.named(VIDEOS | ARRAYS)}
  taken |= {name.rpartition('/')[0] for name in tree.names}
  names = [name for name in names if name.count('/') < 2 and stem(name) not in taken]
  return names if len(names) <= _MAX_LISTS else []


def _one_of_the_official(read: Mapping[str, Sequence[Row]]):
  """Returns the lists, of UCF-101's numbered ones the first pair, and a remark about the others."""
  numbers = {name: _official.fullmatch(name.rpartition('/')[2]) for name in read}
  there = sorted({found[1] for found in numbers.values() if found})
  if len(there) < 2:
    return read, []
  kept = {
    name: rows for name, rows in read.items() if not numbers[name] or numbers[name][1] == there[0]
  }
  return kept, [f'official split {there[0]} of {", ".join(there)}']


_official = re.compile(r'(?:train|test)list(\d+)\.txt', re.IGNORECASE)


def _finished(row: Row, name: str) -> Row:
  """Returns a row whose split is one of ours: as written, or as the list is named."""
  split = split_name(row.split) if row.split else split_of_file(name)
  return row._replace(split=split)


def _merge(units: dict[str, Row], found, remarks):
  """Adds rows; a recording in two splits stays in the held-out one."""
  both = []
  for unit, row in found:
    there = units.setdefault(unit, row)
    if there.split != row.split:
      both += [unit] if None not in (there.split, row.split) else []
      split = min(there.split, row.split, key=_STRICTEST.index)
      units[unit] = row._replace(label=row.label or there.label, split=split)
  if both:
    remarks.append(f'{count(len(both), "recording")} in two splits, held out: {some(both, 3)}')


class _Finder:
  """Finds recordings by what lists call them."""

  def __init__(self, tree: Tree):
    self.tree = tree
    self.outside: set[str] = set()
    units = [name for name in tree.names if suffix(name) not in NO_VIDEOS or suffix(name) in ARRAYS]
    units += {name.rpartition('/')[0] for name in tree.named(IMAGES)} - {''}
    self._known = set(units)
    self._by_name: dict[str, str] = {}
    for key in (_whole, stem, os.path.basename, lambda unit: stem(os.path.basename(unit))):
      for unit in units:
        self._by_name.setdefault(key(unit).lower(), unit)

  def covers(self, units, lists) -> bool:
    """Whether lists are those of the whole data set: at its top, or naming most that lies there."""
    return any('/' not in name for name in lists) or 2 * len(units) >= len(self._known)

  def find(self, row: Row, list_name: str) -> str | None:
    """Returns the recording's path in the tree, or its absolute one, or None."""
    for path in (path.replace('\\', '/') for path in row.paths):
      beside = os.path.normpath(os.path.join(os.path.dirname(list_name), path))
      for near in (beside, os.path.normpath(path)):
        if near in self._known:
          return near
      for there in (existing(str(self.tree.root / beside)), existing(path)):
        if there and there.is_absolute() and suffix(there.name) not in LISTS:
          return self._take(there)
      for key in (path, os.path.basename(path)):
        if unit := self._by_name.get(key.lower()):
          return unit
    return None

  def _take(self, path: pathlib.Path) -> str:
    """Returns the name of a recording outside the tree: its absolute path."""
    name = os.path.abspath(path)
    self.outside.add(name)
    return name


def _whole(unit):
  return unit


def _layout(finder, units, missing, remarks, config) -> Layout:
  """Returns what lies at the paths in `units`, with the classes and splits of their rows."""
  tree, units = _narrow(finder, units)
  found = next(
    (
      layout
      for module in (videos, image_folders, arrays)
      if (layout := module.find(tree, config)) and (layout.entries or layout.skipped)
    ),
    None,
  ) or videos.find_by_opening(tree, config)
  if found is None:
    raise UserError(f'{tree.root}: the lists name no videos, images or arrays')
  classes = _class_index(finder.tree)
  rows = {printable(unit): row for unit, row in units.items()}
  has_labels = any(_label(row, classes) for row in rows.values())
  lacking = [] if has_labels else ['label']
  lacking += [] if any(row.split for row in rows.values()) else ['split']
  others = dict.fromkeys(name for row in rows.values() for name in row.others)
  if lacking and others and not config.columns:
    remarks = [
      *remarks,
      f'no {" and no ".join(lacking)} in the list; dataset.columns may name {some(others, 5)}',
    ]
  entries, skipped = [], list(found.skipped)
  for entry in found.entries:
    row = rows.get(entry.recording.name) or rows.get(entry.recording.name.partition('[')[0])
    if row is None:
      continue
    label = _label(row, classes) if has_labels else entry.label
    entries.append(dataclasses.replace(entry, split=row.split or entry.split, label=label))
  entries, incomplete = _complete(entries)
  skipped += incomplete
  skipped += [
    Skipped(printable(path), f'is missing, {name} names it') for path, name in missing.items()
  ]
  if missing:
    remarks = [*remarks, f'{count(len(missing), "listed file")} missing: {some(missing, 3)}']
  names = tuple(classes.values()) or None
  kind = f'{found.kind}, by a list'
  return Layout(kind, entries, skipped, names, [*remarks, *found.remarks])


def _complete(entries: Sequence[Entry]) -> tuple[list[Entry], list[Skipped]]:
  """Returns those with a split, if any has one, and with a class, if others of the split have one.

  The lists of a split may leave all classes out.
  """
  has_splits, labelled = any(e.split for e in entries), {e.split for e in entries if e.label}
  kept, skipped = [], []
  for entry in entries:
    if has_splits and not entry.split:
      skipped.append(Skipped(entry.recording.name, 'has no split in its list'))
    elif entry.split in labelled and not entry.label:
      skipped.append(Skipped(entry.recording.name, 'has no class in its list'))
    else:
      kept.append(entry)
  return kept, skipped


def _narrow(finder, units) -> tuple[Tree, dict[str, Row]]:
  """Returns the files that belong to some recordings, and the recordings by their names there."""
  tree = finder.tree
  if finder.outside:
    inside = {
      unit if os.path.isabs(unit) else str(tree.root / unit): row for unit, row in units.items()
    }
    root = os.path.commonpath([os.path.dirname(unit) for unit in inside])
    units = {os.path.relpath(unit, root): row for unit, row in inside.items()}
    names = {name for unit in units for name in _around(pathlib.Path(root), unit)}
    return Tree(pathlib.Path(root), sorted(names)), units
  stems = {stem(unit) for unit in units}

  def belongs(name):
    parts = name.split('/')
    above = ('/'.join(parts[:i]) for i in range(1, len(parts)))
    return (
      name in units
      or any(folder in units for folder in above)
      or (suffix(name) in LISTS | ARRAYS and stem(name) in stems)
    )

  return Tree(tree.root, [name for name in tree.names if belongs(name)], tree.closed), units


def _around(root, unit):
  """Returns a recording's file and those beside it, or the files in its folder."""
  path = root / unit
  if path.is_dir():
    return [f'{unit}/{name}' for name in os.listdir(path)]
  beside = [
    stem(unit) + end for end in sorted(LISTS | ARRAYS) if (root / (stem(unit) + end)).is_file()
  ]
  return [unit, *beside]


def _class_index(tree) -> dict[str, str]:
  """Returns UCF-101's classInd.txt: names by number, in order."""
  for name in tree.names:
    if os.path.basename(name).lower() == 'classind.txt':
      with told(f'{name} cannot be read'):
        lines = text_of((tree.root / name).read_bytes()).splitlines()
      words = [line.split() for line in lines]
      return {word[0]: word[1] for word in words if len(word) == 2}
  return {}


def _label(row, classes) -> str | None:
  """Returns a row's class; UCF-101's test lists say it by folder only."""
  label = row.label and readable(row.label)
  if classes:
    return classes.get(label or '', label) or row.paths[0].rpartition('/')[0] or None
  return label
