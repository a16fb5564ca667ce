"""HDF5: recordings by keys with wildcards, and the published implementation's layout.

In the published layout `train_data` uint8 [n_frames h w 3] holds the frames of all training
recordings, and `train_idx` int [n] the first frame of each; `test_data` and `test_idx` likewise.
"""

import dataclasses
import re
from collections.abc import Sequence

import h5py
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import CONTENT_FAULTS, printable
from videogpt_jax.input.layouts import hdf5_file
from videogpt_jax.input.layouts.beside import ACTION_KEYS, LABEL_KEYS
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, left_out, some
from videogpt_jax.input.layouts.stored import ArrayRecording, Stored, recordings
from videogpt_jax.input.layouts.walk import HDF5, Tree, places, split_folders, split_name
from videogpt_jax.input.recording import BrokenRecordingError


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the recordings in HDF5 files, if there are any.

  Raises:
    UserError: no key fits `video_key` or `action_key` (the message lists the keys there are).
  """
  names = tree.named(HDF5)
  if not names:
    return None
  where = places(names, by_file=True)
  entries, skipped, remarks, problems = [], list(tree.closed), [], []
  for name in names:
    place, path = where[name], str(tree.root / name)
    if place is None:
      skipped.append(Skipped(printable(name), 'lies beside the splits'))
      continue
    try:
      with h5py.File(path) as file:
        found, more, remark = _read(file, path, printable(name), place, config)
    except UserError as error:
      problems.append((printable(name), error))
      continue
    except CONTENT_FAULTS as error:
      why = printable(str(error).split(' (')[0])
      skipped.append(Skipped(printable(name), f'no HDF5, or cut short ({why})'))
      continue
    entries += found
    skipped += more
    remarks += [line for line in remark if line not in remarks]
  skipped += left_out(problems, entries)
  kind = 'in one HDF5 file' if len(names) == 1 else 'in HDF5 files'
  return Layout(kind, entries, skipped, remarks=remarks, split_names=split_folders(names))


def _read(file, path, name, place, config):
  """Returns the entries of a file, what is skipped in it, and remarks."""
  if 'train_data' in file and not config.video_key:
    return [*_published(file, path, 'train'), *_published(file, path, 'test')], [], []
  keys = _arrays(file)
  video_keys, remarks = _videos(keys, config.video_key, path)
  actions = _beside(keys, video_keys, config.action_key, ACTION_KEYS, path)
  labels = _beside(keys, video_keys, '', LABEL_KEYS, path)
  masks = _masks(keys)
  entries, skipped = [], []
  for key in video_keys:
    split = place.split or next((masks[part] for part in key.split('/') if part in masks), None)
    if masks and not split:
      skipped.append(Skipped(f'{name}:{key}', 'in no split of mask/'))
      continue
    try:
      axes = 'T' if keys[key].ndim < 3 else config.axes
      found = recordings(_name(name, key, len(video_keys)), Stored(path, key), axes)
    except BrokenRecordingError as error:
      skipped.append(Skipped(f'{name}:{key}', str(error)))
      continue
    own, label = (keys[near[key]][()] if key in near else None for near in (actions, labels))
    for i, recording in enumerate(found):
      if 'N' in recording.axes:
        entry = Entry(recording, split, _text(label, i), None if own is None else own[i])
      else:
        entry = Entry(recording, split, _text(label, ...), own)
      entries.append(dataclasses.replace(entry, label=place.label or entry.label))
  return entries, skipped, remarks


def _name(file, key, n):
  """Returns a recording's name: in a file of several, with what tells it apart."""
  return file if n == 1 else f'{file}:{key}'


def _text(labels, i) -> str | None:
  """Returns a class as text, or None where there is none for each recording."""
  label = None if labels is None else np.asarray(labels)[i]
  if label is None or np.ndim(label):
    return None
  label = label.item() if isinstance(label, np.generic | np.ndarray) else label
  return label.decode() if isinstance(label, bytes) else str(label)


def _arrays(file) -> dict[str, h5py.Dataset]:
  """Returns the arrays of a file by key, in the order of their numbers."""
  found = {}

  def visit(key, item):
    if isinstance(item, h5py.Dataset) and item.shape is not None:  # h5py.Empty
      found[key] = hdf5_file.array(file, key)

  file.visititems(visit)
  return found


def _is_video(array) -> bool:
  """Whether an array may hold frames: pixels, or one image file a frame."""
  if array.dtype.kind in 'uif' and array.ndim in (4, 5):
    return min(array.shape) > 0
  if array.ndim not in (1, 2):
    return False
  texts = array.ndim == 1 and (array.dtype.kind == 'S' or h5py.check_vlen_dtype(array.dtype))
  if not len(array) or not (texts or (array.ndim == 2 and array.dtype == np.uint8)):
    return False
  return bytes(array[0][:3]) in (b'\xff\xd8\xff', b'\x89PN')


def _videos(keys, wanted, path):
  """Returns the keys of the recordings, and remarks."""
  videos = [key for key, array in keys.items() if _is_video(array)]
  patterns = sorted({_pattern(key) for key in videos})
  there = some(dict.fromkeys(map(_pattern, keys))) or 'none'
  if wanted:
    fitting = [key for key in keys if _regex(wanted).fullmatch(key)]
    by_name = [key for key in videos if key.endswith(f'/{wanted.strip("/")}')]  # a camera's
    if not fitting and not by_name:
      raise UserError(
        f'dataset.video_key ({wanted}) fits no key of {path}; those that may hold video are '
        f'{some(patterns) or "none"}, all are {there}'
      )
    return fitting or by_name, []
  if not videos:
    raise UserError(
      f'{path} holds no video, uint8 [frames, height, width, 3]; its keys are {there}'
    )
  remarks = []
  if patterns[1:]:
    remarks = [f'{patterns[0]} is read; dataset.video_key may name {some(patterns[1:])}']
  return [key for key in videos if _pattern(key) == patterns[0]], remarks


def _pattern(key) -> str:
  """Returns a key with * for what differs from recording to recording: parts that end in numbers.

  The last part is a name, such as that of a camera.
  """
  *groups, last = key.split('/')
  return '/'.join([re.sub(r'[0-9]+$', '*', group) for group in groups] + [last])


def _regex(pattern) -> re.Pattern:
  """Returns what a key must be; a * stands for text without /."""
  parts = pattern.strip('/').split('*')
  return re.compile('([^/]*)'.join(map(re.escape, parts)))


def _beside(keys, videos, wanted, usual, path) -> dict[str, str]:
  """Returns for recordings the key of what belongs to them, by equal wildcards or by place."""
  if not wanted:
    near = {key: _nearest(key, keys, usual) for key in videos}
    return {key: found for key, found in near.items() if found}
  fitting = [key for key in keys if _regex(wanted).fullmatch(key)]
  if not fitting:
    raise UserError(
      f'dataset.action_key ({wanted}) fits no key of {path}; there are '
      f'{some(dict.fromkeys(map(_pattern, keys)))}'
    )
  wild = [i for i, part in enumerate(wanted.strip('/').split('/')) if '*' in part]
  group = lambda key: tuple(part for i, part in enumerate(key.split('/')) if i in wild)
  by_group = {group(key): key for key in fitting}
  return {key: by_group[group(key)] for key in videos if group(key) in by_group}


def _nearest(key, keys, usual):
  """Returns the first of the usual names in the group of a recording, or in one above it."""
  *groups, _ = key.split('/')
  for depth in range(len(groups), -1, -1):
    for name in usual:
      candidate = '/'.join([*groups[:depth], name])
      if candidate in keys:
        return candidate
  return None


def _masks(keys) -> dict[str, str]:
  """Returns the split of each group that mask/train, mask/valid and so on name."""
  found = {}
  for key, array in keys.items():
    folder, _, name = key.rpartition('/')
    if folder == 'mask' and (split := split_name(name)):
      for group in array[()]:
        found[group.decode() if isinstance(group, bytes) else str(group)] = split
  return found if 'train' in found.values() else {}


def _published(file, path, split) -> Sequence[Entry]:
  """Returns the recordings of a split in the published layout."""
  data_key, first_key = f'{split}_data', f'{split}_idx'
  if data_key not in file:
    return []
  if first_key not in file:
    raise UserError(
      f'{path} lacks {first_key}, it has {", ".join(file)}; write train_data, train_idx, test_data '
      'and test_idx'
    )
  data, begins = hdf5_file.array(file, data_key), hdf5_file.array(file, first_key)[()]
  if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] not in (1, 3):
    raise UserError(
      f'{data_key} in {path} is {data.dtype} {data.shape}; it must be uint8 [frames, height, '
      'width, 3]'
    )
  ends = np.append(begins[1:], len(data))
  if not len(begins) or begins[0] < 0 or (ends < begins).any():
    raise UserError(
      f'{first_key} in {path} must rise from 0 to at most the {len(data)} frames of {data_key}'
    )
  return [
    Entry(
      ArrayRecording(
        f'{split} recording {i}',
        Stored(path, data_key),
        'THWC',
        data.shape,
        first=int(begin),
        count=int(end - begin),
      ),
      split,
    )
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True))
    if end > begin
  ]
