"""WebDataset: tars whose members belong together by their names up to the first dot.

A recording is a video (`a.mp4`), or images of one name (`a.000.jpg`, `a.001.jpg`) or of one folder
(`a/000.jpg`); `a.json`, `a.cls` and `a.actions.npy` beside it hold its class and actions.
"""

import collections
import dataclasses
import functools
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable
from videogpt_jax.input.images import frame_of
from videogpt_jax.input.layouts.beside import Beside, gather
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, left_out
from videogpt_jax.input.layouts.sizes import common_size, looks
from videogpt_jax.input.layouts.walk import (
  IMAGES,
  NO_VIDEOS,
  TARS,
  Tree,
  in_order,
  places,
  split_folders,
  suffix,
)
from videogpt_jax.input.recording import BrokenRecordingError, Recording
from videogpt_jax.input.video_index import index

_BESIDE = ('.cls', '.csv', '.json', '.jsonl', '.npy', '.npz')


class Member(NamedTuple):
  """A file in a tar: the bytes [first, first + size)."""

  name: str
  first: int
  size: int


@dataclasses.dataclass(frozen=True)
class TarImages:
  """A recording of one image file in a tar a frame.

  Attributes:
    name: as in `videogpt_jax.input.recording.Recording`.
    path: the tar.
    members: the images, in the order of their numbers.
    remarks: what to know about its pixels, one line each.
  """

  name: str
  path: str
  members: Sequence[Member]
  times: np.ndarray | None = None
  size: tuple[int, int] | None = None
  remarks: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.members)

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    for i in indices:
      yield frame_of(_content(self.path, self.members[i]), framing)


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the recordings in tars, if there are any."""
  tars = tree.named(TARS)
  if not tars:
    return None
  where = places(tars, by_file=True)
  skipped, samples = list(tree.closed), {}
  for tar in tars:
    try:
      members, fault = _members(str(tree.root / tar), os.stat(tree.root / tar).st_mtime_ns)
    except (OSError, tarfile.TarError) as error:
      skipped.append(Skipped(printable(tar), f'no tar, or compressed; unpack it ({error})'))
      continue
    if fault:
      skipped.append(Skipped(printable(tar), fault))
    for key, parts in _samples(members).items():
      if fault and members[-1] in parts.values():
        continue  # the rest of it may be missing
      samples[f'{printable(tar)}:{printable(key)}'] = (tar, parts)
  videos = _videos(tree, samples)
  every, most = looks(len(samples), sum(len(parts) for _, parts in samples.values()))
  entries, problems = [], []
  for i, (name, (tar, parts)) in enumerate(samples.items()):
    place = where[tar]
    recording = videos.get(name)
    if recording is None:
      recording = _images(name, str(tree.root / tar), parts, 0 if i % every else most)
    if recording is None or place is None or isinstance(recording, str):
      reason = 'lies beside the splits' if place is None else 'no video and no images'
      skipped.append(Skipped(name, recording if isinstance(recording, str) else reason))
      continue
    try:
      found = _beside(str(tree.root / tar), parts, config.action_key, name)
    except UserError as error:
      problems.append((name, error))
      continue
    entries.append(Entry(recording, place.split, place.label or found.label, found.actions))
  skipped += left_out(problems, entries)
  n = 'one tar' if len(tars) == 1 else f'{len(tars)} tars'
  return Layout(f'in {n} of WebDataset', entries, skipped, split_names=split_folders(tars))


@functools.lru_cache(maxsize=1024)
def _members(path, changed) -> tuple[tuple[Member, ...], str]:
  """Returns the files of a tar in order, without reading them, and why there are no more."""
  del changed
  found, fault, size = [], '', os.path.getsize(path)
  with tarfile.open(path, 'r:') as tar:
    try:
      for m in tar:
        if m.offset_data + m.size > size:
          raise tarfile.ReadError(f'unexpected end of data in {m.name}')
        if m.isfile() and not m.name.rpartition('/')[2].startswith('.'):
          found.append(Member(m.name.removeprefix('./'), m.offset_data, m.size))
    except (tarfile.TarError, EOFError, ValueError) as error:
      fault = f'cut short after {len(found)} files ({error}); whole samples before are used'
  return tuple(found), fault


def _samples(members: Sequence[Member]) -> dict[str, dict[str, Member]]:
  """Returns the members by key and by what follows its dot.

  A folder of nothing but images `000.jpg`, `001.jpg` is one sample: keys of one image each belong
  to their folder.
  """
  samples = collections.defaultdict(dict)
  for member in members:
    folder, _, file = member.name.rpartition('/')
    key, _, rest = file.partition('.')
    samples[f'{folder}/{key}' if folder else key][rest.lower()] = member
  folders = collections.defaultdict(list)
  for key in samples:
    if key.rpartition('/')[0]:
      folders[key.rpartition('/')[0]].append(key)
  for folder, keys in folders.items():
    frames = [k for k in keys if len(samples[k]) == 1 and _is_image(next(iter(samples[k])))]
    if len(frames) > 1 and len(frames) >= len(keys) - len(_BESIDE):
      whole = samples.setdefault(folder, {})
      for key in frames:
        rest, member = samples.pop(key).popitem()
        whole[f'{key.rpartition("/")[2]}.{rest}'] = member
      for key in set(keys) - set(frames):
        whole |= {f'{key.rpartition("/")[2]}.{rest}': m for rest, m in samples.pop(key).items()}
  return dict(samples)


def _is_image(rest):
  return suffix(f'a.{rest}') in IMAGES


def _videos(tree, samples) -> Mapping[str, Recording | str]:
  """Returns the recordings of the samples that hold a video file, or why there is none."""
  addresses = {}
  for name, (tar, parts) in samples.items():
    for rest, (_, first, size) in parts.items():
      if suffix(f'a.{rest}') not in NO_VIDEOS and '.' not in rest:
        path = os.path.abspath(tree.root / tar)
        addresses[name] = f'subfile,,start,{first},end,{first + size},,:{path}'
        break
  return index(tree.root, addresses) if addresses else {}


def _images(name, path, parts, most) -> TarImages | str | None:
  """Returns the recording in images, after a look at some, why it cannot be read, or None."""
  images = sorted((rest for rest in parts if _is_image(rest)), key=in_order)
  if len(images) < 2:
    return None
  members = {parts[rest].name: parts[rest] for rest in images}
  size, remarks = None, ()
  try:
    if most:
      size, remarks = common_size(list(members), lambda key: _content(path, members[key]), most)
  except BrokenRecordingError as error:
    return str(error)
  return TarImages(name, path, tuple(members.values()), size=size, remarks=remarks)


def _beside(path, parts, action_key, name) -> Beside:
  """Returns the class and the actions of a sample."""
  kinds = {rest: suffix(f'a.{rest}') for rest in parts}
  there = [
    rest
    for rest, kind in kinds.items()
    if kind in _BESIDE and not (kind == '.npy' and 'action' not in rest and rest != 'npy')
  ]
  return gather(((f'{name}.{rest}', _content(path, parts[rest])) for rest in there), action_key)


def _content(path, member) -> bytes:
  try:
    with open(path, 'rb') as file:
      file.seek(member.first)
      return file.read(member.size)
  except OSError as error:
    raise BrokenRecordingError(f'cannot be read ({error.strerror})') from error
