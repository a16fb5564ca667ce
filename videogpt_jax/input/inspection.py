"""Inspects a data set as a run would see it."""

import collections
import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from videogpt_jax.input import import_module
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.contents import DatasetInfo, describe, open_clips
from videogpt_jax.input.duplicates import near_identical
from videogpt_jax.input.faults import printable
from videogpt_jax.input.layouts.layout import Skipped
from videogpt_jax.input.pipeline import train_batches
from videogpt_jax.input.recording import BrokenRecordingError, frame_rate

_MIN_BATCHES = 4  # the first fill the pipeline and are not timed
_COMPARED = 64  # recordings of each split that are looked at for likeness


@dataclasses.dataclass(frozen=True)
class Inspection:
  """Findings about a data set.

  Attributes:
    info: sizes and classes.
    layout: what was found, in one line.
    found: numbers of recordings and of their frames, before some are held out; None where clips are
      generated.
    remarks: what to know about it, one line each.
    lengths: int [n] for each split, number of frames of its recordings; None where clips are
      generated.
    frame_rates: number of recordings by frames a second (rounded to a tenth), as far as known.
    sizes: number of recordings by (h, w), as far as known.
    skipped: each recording that cannot be used, and why.
    alike: held-out recordings that training shows too: (of training, held out).
    n_compared: how many held-out recordings were looked at for that.
    shapes, dtypes: shape and dtype of each array in a batch, by name.
    clips_per_second: of training, read and decoded with nothing training beside.
    video: training clips as in a batch, [n T H W 3]; None for shards of codes.
    actions: of those clips, [n T A], or None.
    wholes: some first frames as they are stored, uint8 [h w 3] each.
  """

  info: DatasetInfo
  layout: str
  found: tuple[int, int] | None
  remarks: Sequence[str]
  lengths: dict[str, np.ndarray | None]
  frame_rates: dict[float, int]
  sizes: dict[tuple[int, int], int]
  skipped: tuple[Skipped, ...]
  alike: Sequence[tuple[str, str]]
  n_compared: int
  shapes: dict[str, tuple[int, ...]]
  dtypes: dict[str, str]
  clips_per_second: float
  video: np.ndarray | None
  actions: np.ndarray | None
  wholes: Sequence[np.ndarray] = ()

  def to_json(self) -> dict[str, Any]:
    """Returns all of it but the pictures, for JSON."""
    return {
      'layout': self.layout,
      'found': self.found and dict(zip(('recordings', 'frames'), self.found, strict=True)),
      'remarks': list(self.remarks),
      'splits': {
        split: {
          'recordings': self._count(split),
          'frames': None if lengths is None else int(np.sum(lengths)),
        }
        for split, lengths in self.lengths.items()
      },
      'classes': list(self.info.class_names or ()),
      'action_dim': self.info.action_dim or 0,
      'lengths': {
        split: lengths if lengths is None else _counted(lengths.tolist())
        for split, lengths in self.lengths.items()
      },
      'frame_rates': {str(rate): n for rate, n in self.frame_rates.items()},
      'sizes': {f'{h}x{w}': n for (h, w), n in self.sizes.items()},
      'skipped': [line._asdict() for line in self.skipped],
      'near_identical': [{'train': ours, 'held_out': theirs} for ours, theirs in self.alike],
      'batch': {
        name: {'shape': list(shape), 'dtype': self.dtypes[name]}
        for name, shape in self.shapes.items()
      },
      'clips_per_second': self.clips_per_second,
    }

  def _count(self, split) -> int:
    if self.lengths[split] is not None:
      return len(self.lengths[split])
    return self.info.n_train if split == 'train' else self.info.n_test


def inspect(
  config: DatasetConfig, batch_size: int = 8, seed: int = 0, seconds: float = 5.0
) -> Inspection:
  """Opens a data set and reads at least a few training batches, for at least `seconds`.

  Raises:
    UserError: the data is missing or broken.
  """
  splits, layout, total, remarks, skipped = _recordings(config)
  every = [recording for part in splits.values() for recording in part]
  rates = [round(rate, 1) for recording in every if (rate := frame_rate(recording))]
  held_out = [recording for split in splits if split != 'train' for recording in splits[split]]
  first, clips_per_second = _read(config, batch_size, seed, seconds)
  clips = {split: open_clips(config, split) for split in splits or ('train', 'test')}
  if not splits:
    lines = dict.fromkeys(line for part in clips.values() for line in part.skipped)
    skipped = [Skipped(*line.partition(': ')[::2]) for line in lines]
  compared = _some(held_out) if splits.get('train') else ()
  return Inspection(
    info=describe(config),
    layout=layout,
    found=total,
    remarks=remarks,
    lengths={split: part.lengths for split, part in clips.items()},
    frame_rates=_counted(rates),
    sizes=_counted([recording.size for recording in every if recording.size]),
    skipped=tuple(skipped),
    alike=near_identical(_some(splits.get('train', ())), compared),
    n_compared=len(compared),
    shapes={name: array.shape for name, array in first.items()},
    dtypes={name: str(array.dtype) for name, array in first.items()},
    clips_per_second=clips_per_second,
    video=first['video'] if 'codes' not in first else None,
    actions=first.get('actions'),
    wholes=_wholes(_some(splits.get('train', ()), 4)),
  )


def _recordings(config):
  """Returns the recordings of each split, what was found and how much, remarks, what is skipped."""
  if config.source not in ('folder', 'hdf5'):
    return {}, f'{config.source} {printable(config.path or config.name)}'.strip(), None, (), []
  folder = import_module('sources.folder')
  found = folder.look(config)
  splits = {
    split: [entry.recording for entry in entries] for split, entries in found.splits.items()
  }
  return splits, found.said, found.found, found.remarks, found.skipped


def _read(config, batch_size, seed, seconds):
  """Returns the first batch, and the clips read each second."""
  batches = train_batches(config, batch_size=batch_size, seed=seed)
  first = next(batches)
  next(batches)
  begun = time.perf_counter()
  for n_batches in itertools.count(1):
    next(batches)
    elapsed = time.perf_counter() - begun
    if n_batches >= _MIN_BATCHES and elapsed >= seconds:
      return first, n_batches * batch_size / elapsed


def _some(recordings, n=_COMPARED):
  """Returns at most n of them, evenly chosen."""
  return recordings[:: max(1, -(-len(recordings) // n))]


def _wholes(recordings) -> list[np.ndarray]:
  found = []
  for recording in recordings:
    try:
      found += [np.asarray(f, np.uint8) for f in recording.frames(np.array([0]), None)]
    except BrokenRecordingError:
      continue
  return found


def _counted(values) -> dict[Any, int]:
  return dict(sorted(collections.Counter(values).items()))
