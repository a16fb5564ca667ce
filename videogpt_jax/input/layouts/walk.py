"""Files below a folder, what their suffixes say, and the splits and classes that folders mean."""

import collections
import os
import pathlib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from videogpt_jax.errors import UserFileError
from videogpt_jax.input.faults import printable
from videogpt_jax.input.layouts.layout import Skipped


def _suffixes(text: str) -> frozenset[str]:
  return frozenset(f'.{word}' for word in text.split())


VIDEOS = _suffixes(
  '3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc ivf m2ts m4v mkv mov mp4 mpeg mpg mts mxf '
  'ogg ogv rm ts vob webm wmv y4m'
)
IMAGES = _suffixes('bmp jpeg jpg pgm png ppm tif tiff webp')
ARRAYS = _suffixes('npy npz')
HDF5 = _suffixes('h5 hdf hdf5')
LISTS = _suffixes('csv json jsonl tsv txt')
TARS = _suffixes('tar')
PACKED = _suffixes('7z bz2 gz rar tbz2 tgz txz xz zip zst')
_OTHERS = _suffixes(
  'aae arw avif bin cls cr2 db dng doc docx flac heic heif html ini ipynb lock log m4a md mp3 nef '
  'parquet pdf pickle pkl pt pth py pyc rst safetensors sh srt sqlite tfrecord thm toml vtt wav '
  'xls xlsx xml yaml yml'
)
NO_VIDEOS = IMAGES | ARRAYS | HDF5 | LISTS | TARS | PACKED | _OTHERS
"""Suffixes of files that are not tried as videos. Every other file is, whatever its suffix."""

_MOST_LINKS = 8  # to one folder that are followed: those in circles multiply

_SPLITS = {'train': 'train', 'training': 'train', 'test': 'test', 'testing': 'test'}
_SPLITS |= dict.fromkeys(('val', 'valid', 'validate', 'validation', 'dev'), 'val')
_SPLIT_FILE = re.compile(
  rf'(?:.*[-_.])?({"|".join(sorted(_SPLITS, key=len, reverse=True))})(?:list)?(?![a-z])', re.I
)


class Tree(NamedTuple):
  """Files of a data set.

  Attributes:
    root: the folder.
    names: files below it, by relative path, sorted, without hidden ones.
    closed: folders that cannot be read.
    lone: whether the data set is the one file in `names`.
  """

  root: pathlib.Path
  names: Sequence[str]
  closed: Sequence[Skipped] = ()
  lone: bool = False

  def named(self, suffixes: frozenset[str]) -> list[str]:
    """Returns the files with one of these suffixes."""
    return [name for name in self.names if suffix(name) in suffixes]


def look(path: str) -> Tree:
  """Lists a data set's folder, or its file. A folder that holds one folder alone is entered.

  Raises:
    UserFileError: there is none.
  """
  root = existing(path)
  if not root:
    raise UserFileError(
      f'dataset.path ({printable(path)}) does not exist; name a folder or file of videos'
    )
  if not root.is_dir():
    return Tree(root.parent, (root.name,), lone=True)
  while True:
    inside = [name for name in _listing(root) if not _is_hidden(name)]
    if len(inside) != 1 or not (root / inside[0]).is_dir() or split_name(inside[0]):
      return Tree(root, *_files(root))
    root /= inside[0]


def existing(path: str) -> pathlib.Path | None:
  """Returns a path, with its ~ replaced, or None if nothing is there; `path` may be any text."""
  try:
    found = pathlib.Path(path).expanduser()
    return found if found.exists() else None
  except (OSError, RuntimeError, ValueError):  # too long a name, no such user, a zero byte
    return None


def _listing(folder):
  try:
    return os.listdir(folder)
  except OSError:
    return []


def _is_hidden(name):
  return name.startswith('.') or name == '__MACOSX'


def _files(root: pathlib.Path) -> tuple[list[str], list[Skipped]]:
  """Returns the files below a folder, by relative path, sorted, and the folders that are closed.

  Follows links, but to no folder above `root`, to none on the way to itself, and to none more than
  `_MOST_LINKS` times. Leaves out hidden files, and what is no file: pipes, sockets, devices.
  """
  found, closed, links = [], [], collections.Counter()
  above_root = pathlib.Path(os.path.realpath(root)).parents
  todo = [('', frozenset(map(str, above_root)))]
  while todo:
    folder, above = todo.pop()
    real = os.path.realpath(root / folder)
    if real in above:
      continue
    if os.path.islink(root / folder) and folder:
      links[real] += 1
      if links[real] > _MOST_LINKS:
        continue
    try:
      with os.scandir(root / folder) as entries:
        inside = sorted((e for e in entries if not _is_hidden(e.name)), key=lambda e: e.name)
      for entry in inside:
        path = f'{folder}/{entry.name}' if folder else entry.name
        if entry.is_dir():
          todo.append((path, above | {real}))
        elif entry.is_file() or entry.is_symlink():  # one that leads nowhere is named later
          found.append(path)
    except OSError as error:
      closed.append(Skipped(printable(folder) or str(root), error.strerror or str(error)))
  return sorted(found), closed


def suffix(name: str) -> str:
  """Returns the suffix of a path in lower case."""
  return os.path.splitext(name)[1].lower()


def stem(name: str) -> str:
  """Returns a path without its suffix."""
  return os.path.splitext(name)[0]


def in_order(name: str) -> list[str | int]:
  """Returns a sort key that puts numbers in names into numerical order."""
  parts = re.split('([0-9]+)', name)
  return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def split_name(name: str) -> str | None:
  """Returns the split that a folder or list is named after, or None."""
  return _SPLITS.get(name.lower())


def split_of_file(name: str) -> str | None:
  """Returns the split in a file's name, such as 'train-0001.tar' or 'k400_val.csv', or None."""
  found = _SPLIT_FILE.match(name.rpartition('/')[2])
  return split_name(found[1]) if found else None


class Place(NamedTuple):
  """Where a recording lies: its split and its class, if there are any."""

  split: str | None
  label: str | None


def places(names: Sequence[str], by_file: bool = False) -> dict[str, Place | None]:
  """Returns where each recording lies; None for those beside the splits.

  A folder named after a split is one if there is a training split beside it: at the top, or in
  each class. The topmost other folder is the class if all training recordings lie in one.

  Args:
    names: relative paths of the recordings.
    by_file: whether files may be named after their splits too.
  """
  parts = {name: name.split('/') for name in names}
  level, meant = _splits_at(parts)
  if meant:
    splits = {
      name: meant.get(at[level]) if len(at) > level + 1 else None for name, at in parts.items()
    }
    folders = {name: [*at[:level], *at[level + 1 : -1]] for name, at in parts.items()}
  else:
    splits = {name: split_of_file(name) if by_file else None for name in names}
    folders = {name: at[:-1] for name, at in parts.items()}
    if 'train' not in splits.values():
      splits = dict.fromkeys(names)
  has_splits = any(splits.values())
  train = [name for name in names if splits[name] == ('train' if has_splits else None)]
  has_classes = all(folders[name] for name in train) and not _is_one_each(train, folders)
  return {
    name: None
    if has_splits and not splits[name]
    else Place(splits[name], folders[name][0] if has_classes and folders[name] else None)
    for name in names
  }


def _splits_at(parts) -> tuple[int, dict[str, str]]:
  """Returns at which level folders are splits, and which: at the top, or in most classes."""
  for level in (0, 1):
    folders = [at[level] for at in parts.values() if len(at) > level + 1]
    meant = _split_names(set(folders))
    n = sum(1 for folder in folders if folder in meant)
    if 'train' in meant.values() and (level == 0 or 2 * n >= len(parts)):
      return level, meant
  return 0, {}


def _split_names(folders: Collection[str]) -> dict[str, str]:
  """Returns the splits that folders are named after.

  By their whole names; or, where such a name is but a part, by what is beside it: 'train_videos'
  and 'test_videos', 'train2017' and 'val2017'.
  """
  found = {folder: split for folder in folders if (split := split_name(folder))}
  if found:
    return found
  alike = collections.defaultdict(dict)
  for folder in folders:
    words = re.findall('[A-Z]?[a-z]+|[A-Z]+|[0-9]+', folder)
    splits = [split for word in words if (split := split_name(word))]
    if len(splits) == 1:
      alike[tuple(word.lower() for word in words if not split_name(word))][folder] = splits[0]
  for group in alike.values():
    if 'train' in group.values() and len(set(group.values())) > 1:
      found |= group
  return found


def _is_one_each(names, folders):
  """Whether each folder holds one recording, all of the same name: folders are then no classes."""
  files = {name.rpartition('/')[2] for name in names}
  return (
    len(names) > 1 and len(files) == 1 and len({folders[name][0] for name in names}) == len(names)
  )


def split_folders(names: Sequence[str]) -> dict[str, str]:
  """Returns what the data set calls each split, such as {'val': 'validation/'}."""
  _, meant = _splits_at({name: name.split('/') for name in names})
  return {split: f'{folder}/' for folder, split in sorted(meant.items(), reverse=True)}
