"""NumPy's files: `.npy` and `.npz`, one a recording or one for all."""

import numpy as np

from videogpt_jax import numpy_file
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import CONTENT_FAULTS, printable, told
from videogpt_jax.input.layouts.beside import ACTION_KEYS, LABEL_KEYS, beside, choose
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, left_out
from videogpt_jax.input.layouts.stored import Stored, recordings
from videogpt_jax.input.layouts.walk import (
  ARRAYS,
  Tree,
  places,
  split_folders,
  stem,
  suffix,
)

_VIDEO_KEYS = ('video', 'videos', 'frames', 'images', 'image', 'observations', 'obs')


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the recordings in NumPy's files, if there are any.

  Raises:
    UserError: it is unclear which array or axis is which.
  """
  names = _videos(tree)
  if not names:
    return None
  where = places(names, by_file=True)
  everything = frozenset(tree.names)
  entries, skipped, problems = [], list(tree.closed), []
  several = False
  for name in names:
    place = where[name]
    if place is None:
      skipped.append(Skipped(printable(name), 'lies beside the splits'))
      continue
    try:
      found = _read(tree, name, config, everything)
    except UserError as error:
      problems.append((printable(name), error))
      continue
    several |= len(found) > 1
    entries += [
      Entry(recording, place.split, place.label or label, actions)
      for recording, label, actions in found
    ]
  kind = (
    'in one array' if several and len(names) == 1 else 'in arrays' if several else 'an array each'
  )
  skipped += left_out(problems, entries)
  return Layout(kind, entries, skipped, split_names=split_folders(names))


def _videos(tree):
  """Returns the files that hold frames: not those that lie beside another and hold its actions."""
  names = tree.named(ARRAYS)
  stems = {stem(name) for name in names}
  beside_another = ('.actions', '_actions', '/actions', '.labels', '_labels', '/labels')
  return [
    name
    for name in names
    if not any(
      stem(name).endswith(end) and (stem(name).removesuffix(end) in stems or end.startswith('/'))
      for end in beside_another
    )
  ]


def _read(tree, name, config, everything):
  """Returns (recording, label, actions) for each recording in a file."""
  path = str(tree.root / name)
  if suffix(name) == '.npy':
    found = beside(tree.root, stem(name), everything - {name}, config.action_key)
    made = recordings(printable(name), Stored(path), config.axes)
    actions, labels = found.actions, found.label
  else:
    with told('cannot be read', CONTENT_FAULTS), numpy_file.open_npz(path) as file:
      key = _video_key(file, config.video_key, path)
      action_key = choose(file.files, config.action_key, ACTION_KEYS, path)
      actions = None if action_key is None else file[action_key]
      label_key = next((k for k in LABEL_KEYS if k in file.files), None)
      labels = None if label_key is None else file[label_key]
    made = recordings(printable(name), Stored(path, key), config.axes)
  if len(made) == 1 and 'N' not in made[0].axes:
    label = None if labels is None or np.ndim(labels) else str(labels)
    return [(made[0], label, actions)]
  return [
    (
      recording,
      str(labels[i]) if np.ndim(labels) == 1 and len(labels) == len(made) else None,
      actions[i] if actions is not None and len(actions) == len(made) else None,
    )
    for i, recording in enumerate(made)
  ]


def _video_key(file, wanted, path):
  """Returns the array that holds frames: by name, or the only one with as many axes."""
  if key := choose(file.files, wanted, _VIDEO_KEYS, path):
    return key
  many = [key for key in file.files if file[key].ndim >= 3]
  if len(many) != 1:
    raise UserError(
      f'{path} holds {", ".join(file.files) or "nothing"}; name the array of frames with '
      'dataset.video_key'
    )
  return many[0]
