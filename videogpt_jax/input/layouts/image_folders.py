"""A folder of numbered images per recording, with or without splits and classes above them.

An animated picture is a recording of its own.
"""

import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing
from videogpt_jax.input.animation import SUFFIXES, Animation, animation
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable
from videogpt_jax.input.images import frame_of, image_size
from videogpt_jax.input.layouts.beside import beside
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, left_out, some
from videogpt_jax.input.layouts.sizes import common_size, looks
from videogpt_jax.input.layouts.walk import (
  IMAGES,
  Tree,
  in_order,
  places,
  split_folders,
  stem,
  suffix,
)
from videogpt_jax.input.recording import BrokenRecordingError

_ALONE = 'a picture alone; the pictures of a recording are numbered and in one folder'


@dataclasses.dataclass(frozen=True)
class Images:
  """A recording of one image file a frame.

  Attributes:
    name: path of the folder.
    folder: where it lies.
    files: names of the images, in the order of their numbers.
    size: (h, w) of all; None if it changes.
    remarks: what to know about its pixels, one line each.
  """

  name: str
  folder: pathlib.Path
  files: Sequence[str]
  size: tuple[int, int] | None = None
  times: np.ndarray | None = None
  remarks: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.files)

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    for i in indices:
      yield frame_of(self.folder / self.files[i], framing)


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the folders that hold images, if any does."""
  files = tree.named(IMAGES)
  _, most = looks(len(_by_folder(files)), len(files))
  recordings, remarks, skipped = {}, [], []
  for folder, images in _by_folder(files).items():
    series = number(images)
    for key, names in series.items():
      if moving := _animations(tree.root, folder, names):
        recordings |= moving
        continue
      name = '/'.join(filter(None, (folder, key if len(series) > 1 else '')))
      name = printable(name or tree.root.name)
      if len(names) == 1:
        skipped.append(Skipped(printable('/'.join(filter(None, (folder, names[0])))), _ALONE))
        continue
      try:
        size, odd = common_size(names, (tree.root / folder).joinpath, most)
      except BrokenRecordingError as error:
        skipped.append(Skipped(name, str(error)))
        continue
      remarks += gaps(name, names)
      images = Images(name, tree.root / folder, tuple(names), size, remarks=odd)
      recordings[name] = (folder, images)
  if not (recordings or skipped):
    return None
  where, names = places(list(recordings)), frozenset(tree.names)
  entries, problems = [], []
  for name, (beside_name, recording) in sorted(recordings.items()):
    place = where[name]
    if place is None:
      skipped.append(Skipped(name, 'lies beside the folders of the splits'))
      continue
    try:
      found = beside(tree.root, beside_name, names, config.action_key)
    except UserError as error:
      problems.append((name, error))
      continue
    entries.append(Entry(recording, place.split, place.label or found.label, found.actions))
  moving = [isinstance(entry.recording, Animation) for entry in entries]
  return Layout(
    'an animated picture each' if any(moving) and all(moving) else 'a folder of frames each',
    entries,
    (*tree.closed, *skipped, *left_out(problems, entries)),
    remarks=remarks,
    split_names=split_folders(list(where)),
  )


def _animations(root, folder, names) -> dict[str, tuple[str, Animation]]:
  """Returns the recordings in animated pictures, if the first moves, with what they are called."""
  paths = [f'{folder}/{name}' if folder else name for name in names]
  if suffix(names[0]) not in SUFFIXES or animation(root / paths[0], '') is None:
    return {}
  found = [(path, animation(root / path, printable(path))) for path in paths]
  return {moving.name: (stem(path), moving) for path, moving in found if moving}


def photo(path: pathlib.Path) -> Images | Animation:
  """Returns an image file as a recording: of one frame, unless it moves.

  Raises:
    BrokenRecordingError: it is no image.
  """
  if suffix(path.name) in SUFFIXES and (moving := animation(path, path.name)):
    return moving
  return Images(path.name, path.parent, (path.name,), image_size(path))


def number(names: Sequence[str]) -> dict[str, list[str]]:
  """Returns the series among some images, by what their names have in common, in numerical order.

  The last number in a name that differs among them is the frame's. Other ones that differ, and
  text, tell several series apart.
  """
  alike = collections.defaultdict(list)
  for name in names:
    alike[tuple(re.split('[0-9]+', stem(name)))].append(name)
  series = collections.defaultdict(list)
  for text, group in alike.items():
    numbers = {name: re.findall('[0-9]+', stem(name)) for name in group}
    differing = [i for i in range(len(text) - 1) if len({n[i] for n in numbers.values()}) > 1]
    frame = differing[-1] if differing else len(text) - 2
    for name, found in numbers.items():
      others = [part for i, part in enumerate(found) if i != frame]
      parts = iter([*others[: max(frame, 0)], '*' if found else '', *others[max(frame, 0) :]])
      key = ''.join(part + next(parts, '') for part in text)
      series[key].append(name)
  return {key: sorted(group, key=in_order) for key, group in sorted(series.items())}


def gaps(name: str, files: Sequence[str]) -> list[str]:
  """Returns a remark if numbers are missing in a series, by the step that most of it takes."""
  numbers = [[int(n) for n in re.findall('[0-9]+', stem(file))] for file in files]
  if not numbers[0] or any(len(n) != len(numbers[0]) for n in numbers):
    return []
  frame = max(i for i in range(len(numbers[0])) if i == 0 or len({n[i] for n in numbers}) > 1)
  taken = [n[frame] for n in numbers]
  steps = np.diff(taken)
  if not len(steps) or not (step := int(np.median(steps))):
    return []
  missing = [
    f'{first + step}' if last - first == 2 * step else f'{first + step} to {last - step}'
    for first, last in itertools.pairwise(taken)
    if last - first > step
  ]
  return [f'{name}: no frame {some(missing, 5)}'] if missing else []


def _by_folder(names):
  folders = collections.defaultdict(list)
  for name in names:
    folder, _, file = name.rpartition('/')
    folders[folder].append(file)
  return folders
