"""A folder of numbered images per recording, with or without splits and classes above them."""

import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from videogpt_jax.framing import Framing
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable
from videogpt_jax.input.images import frame_of, image_size
from videogpt_jax.input.layouts.beside import beside
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, some
from videogpt_jax.input.layouts.walk import (
  IMAGES,
  Tree,
  in_order,
  places,
  split_folders,
  stem,
)
from videogpt_jax.input.recording import BrokenRecordingError


@dataclasses.dataclass(frozen=True)
class Images:
  """A recording of one image file a frame.

  Attributes:
    name: path of the folder.
    folder: where it lies.
    files: names of the images, in the order of their numbers.
    size: (h, w) of the first.
  """

  name: str
  folder: pathlib.Path
  files: Sequence[str]
  size: tuple[int, int] | None = None
  times: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.files)

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    for i in indices:
      yield frame_of(self.folder / self.files[i], framing)


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the folders that hold images, if any does."""
  recordings, remarks, skipped = [], [], []
  for folder, images in _by_folder(tree.named(IMAGES)).items():
    series = number(images)
    for key, files in series.items():
      name = '/'.join(filter(None, (folder, key if len(series) > 1 else '')))
      name = printable(name or tree.root.name)
      if len(files) == 1:
        continue
      try:
        size = image_size(tree.root / folder / files[0])
      except BrokenRecordingError as error:
        skipped.append(Skipped(name, f'{printable(files[0])}: {error}'))
        continue
      remarks += gaps(name, files)
      recordings.append((folder, Images(name, tree.root / folder, tuple(files), size)))
  if not recordings:
    return None
  where = places([recording.name for _, recording in recordings])
  names = frozenset(tree.names)
  entries = []
  for folder, recording in sorted(recordings, key=lambda found: found[1].name):
    place = where[recording.name]
    if place is None:
      skipped.append(Skipped(recording.name, 'lies beside the folders of the splits'))
      continue
    found = beside(tree.root, folder, names, config.action_key)
    entries.append(Entry(recording, place.split, place.label or found.label, found.actions))
  return Layout(
    'a folder of frames each',
    entries,
    (*tree.closed, *skipped),
    remarks=remarks,
    split_names=split_folders(list(where)),
  )


def photo(path: pathlib.Path) -> Images:
  """Returns an image file as a recording of one frame.

  Raises:
    BrokenRecordingError: it is no image.
  """
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
