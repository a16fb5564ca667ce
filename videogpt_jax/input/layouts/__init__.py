"""Layouts: how the recordings of a data set lie in a folder, a list or a file, found by looking."""

import dataclasses
import functools
import pathlib

from videogpt_jax.errors import UserError
from videogpt_jax.input.actions import settle
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable
from videogpt_jax.input.layouts import (
  arrays,
  image_folders,
  lerobot,
  lists,
  videos,
  webdataset,
)
from videogpt_jax.input.layouts.layout import Layout, Skipped, count, some
from videogpt_jax.input.layouts.walk import (
  ARRAYS,
  HDF5,
  IMAGES,
  LISTS,
  PACKED,
  TARS,
  VIDEOS,
  Tree,
  look,
  suffix,
)
from videogpt_jax.input.recording import Recording


def _in_hdf5(tree: Tree, config: DatasetConfig) -> Layout | None:
  from videogpt_jax.input.layouts import hdf5  # h5py, which only its files need

  return hdf5.find(tree, config)


_KINDS = {
  'videos': (VIDEOS, videos.find),
  'tars': (TARS, webdataset.find),
  'HDF5 files': (HDF5, _in_hdf5),
  'images': (IMAGES, image_folders.find),
  'arrays': (ARRAYS, arrays.find),
}
"""Kinds of files that hold recordings. Where several are there, the one with the most recordings is
the data set, the first of them if there are as many; the rest lies beside it, as actions may."""


def find(config: DatasetConfig) -> Layout:
  """Returns the recordings at `config.path`, with actions in one form.

  Raises:
    UserError: there are none, or a setting names something that is not there.
  """
  keys = ('path', 'video_key', 'action_key', 'columns', 'axes', 'action_order')
  return _find(DatasetConfig('folder', **{key: getattr(config, key) for key in keys}))


def recordings_at(path: str) -> list[Recording]:
  """Returns the recordings in one file or folder; a photo is a recording of one frame.

  Raises:
    UserError: there are none.
  """
  if suffix(path) in IMAGES:
    return [image_folders.photo(pathlib.Path(path))]
  if suffix(path) in LISTS:
    raise UserError('no video stream')
  layout = find(DatasetConfig('folder', path))
  if not layout.entries:
    raise UserError('; '.join(skipped.reason for skipped in layout.skipped[:3]))
  return [entry.recording for entry in layout.entries]


@functools.lru_cache(maxsize=8)
def _find(config) -> Layout:
  tree = look(config.path)
  if layout := lerobot.find(tree, config):  # it says itself what there is, and so do lists
    return _settled(layout, tree, config)
  layout, unused = lists.find(tree, config)
  if not layout:
    layout = _most(tree, config)
    if not (layout and layout.entries):
      layout = videos.find_by_opening(tree, config) or layout  # files of any other suffix
  if unused:
    layout = layout or Layout('nothing', [])
    layout = dataclasses.replace(layout, skipped=(*layout.skipped, *unused))
  return _settled(layout, tree, config)


def _most(tree, config) -> Layout | None:
  """Returns what the kind of files with the most recordings holds."""
  there = {kind: find for kind, (suffixes, find) in _KINDS.items() if tree.named(suffixes)}
  found, problems = {}, []
  for kind, find in there.items():
    try:
      found[kind] = find(tree, config)
    except UserError as error:  # of files that may be something else
      problems.append(error)
  found = {kind: layout for kind, layout in found.items() if layout}
  if not any(layout.entries for layout in found.values()):
    if problems:
      raise problems[0]
    return next(iter(found.values()), None)
  kind = max(found, key=lambda kind: len(found[kind].entries))
  if others := [other for other, layout in found.items() if layout.entries and other != kind]:
    remark = f'{kind} are read, and what lies beside them is not: {some(others)}'
    return found[kind].remarked(remark)
  return found[kind]


def _settled(layout: Layout | None, tree: Tree, config: DatasetConfig) -> Layout:
  """Returns the layout with actions in one form; raises UserError where nothing was found."""
  packed = tree.named(PACKED)
  if layout is None or not (layout.entries or layout.skipped):
    suffixes = sorted({suffix(name) or '(none)' for name in tree.names})
    what = f'files of kind {" ".join(suffixes[:10])}' if suffixes else 'nothing'
    remedy = (
      f'unpack {some(map(printable, packed), 3)}'
      if packed
      else 'name a folder of videos, of folders of images or of arrays, a list, or a file of HDF5, '
      'NumPy or WebDataset'
    )
    raise UserError(f'{printable(config.path)} holds {what}, and no usable clip; {remedy}')
  if packed:
    names = some(map(printable, packed), 3)
    layout = layout.remarked(f'{names}: packed, and not read; unpack what holds recordings')
  layout = _without_classes(layout)
  entries = {entry.recording.name: entry for entry in layout.entries}
  stored = {name: entry.actions for name, entry in entries.items()}
  n = sum(actions is not None for actions in stored.values())
  if 0 < 2 * n < len(stored) and not config.action_key:
    remark = (
      f'{n} of {len(stored)} recordings have actions, and {len(stored) - n} have none: none are '
      'used; dataset.action_key leaves out those without'
    )
    plain = [dataclasses.replace(entry, actions=None) for entry in layout.entries]
    return dataclasses.replace(layout, entries=plain).remarked(remark)
  lengths = {name: len(entry.recording) for name, entry in entries.items()}
  actions = settle(stored, lengths, config.action_order)
  if actions is None:
    return layout
  return dataclasses.replace(
    layout,
    entries=[
      dataclasses.replace(entry, actions=actions.of[name])
      for name, entry in entries.items()
      if name in actions.of
    ],
    skipped=(*layout.skipped, *(Skipped(name, why) for name, why in sorted(actions.wrong.items()))),
    action_dim=actions.dim,
    choices=actions.choices,
  )


def _without_classes(layout: Layout) -> Layout:
  """Leaves out held-out splits without classes, which training has: test lists often say none."""
  train = [entry.label for entry in layout.entries if entry.split in ('train', None)]
  if not train or None in train:
    return layout
  for split in ('val', 'test'):
    labels = [entry.label for entry in layout.entries if entry.split == split]
    if labels and not any(labels):
      remark = (
        f'{layout.split_names.get(split, split)} has no classes, which training has: its '
        f'{count(len(labels), "recording")} {"is" if len(labels) == 1 else "are"} left out'
      )
      entries = [entry for entry in layout.entries if entry.split != split]
      layout = dataclasses.replace(layout, entries=entries).remarked(remark)
  return layout
