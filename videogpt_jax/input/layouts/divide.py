"""Divides a data set's recordings into training and held-out ones."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.layouts.hold_out import hold_out, in_both
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, count, counts, some
from videogpt_jax.input.layouts.remarks import about
from videogpt_jax.input.recording import BrokenRecordingError, Part, frame_rate, places

_LONG = 0.8  # share of all frames that makes a recording the one to hold a part of out
_MAX_PARTS = 64  # held-out clips of one recording
_USUAL_CLIP = 16  # frames of the gap where no clip's length is known


@dataclasses.dataclass(frozen=True)
class Divided:
  """Recordings by split.

  Attributes:
    splits: 'train', and 'val' or 'test' or both.
    skipped: recordings that cannot be used.
    found: numbers of recordings and of their frames, before they are divided.
    said: what was found, in one line.
    remarks: what else to know, one line each.
  """

  splits: dict[str, Sequence[Entry]]
  skipped: Sequence[Skipped]
  found: tuple[int, int]
  said: str
  remarks: Sequence[str] = ()


def divide(layout: Layout, config: DatasetConfig, *, whole: bool = False) -> Divided:
  """Returns the recordings that are long enough for a clip, by split.

  Where the data set holds nothing out, `config.test_fraction` of its recordings is, by whole groups
  of `config.group`, or the last part of the only one, or of one with most of all frames.

  Args:
    layout: the recordings.
    config: how clips are cut, and what is held out.
    whole: whether the held-out part of a recording stays whole, for clips of any length.
  Raises:
    UserError: all are held out, `config.broken` is 'stop' and something cannot be used, or the
      groups cannot be.
  """
  entries, skipped = [], list(layout.skipped)
  for entry in layout.entries:
    if problem := broken(entry, config) or too_short(entry, config):
      skipped.append(Skipped(entry.recording.name, problem))
    else:
      entries.append(entry)
  if config.broken == 'stop' and (unread := [*layout.skipped, *_broken(layout, config)]):
    raise UserError(
      f'{count(len(unread), "recording")} cannot be used: {some(map(str, unread), 3)}; remove '
      f'{"it" if len(unread) == 1 else "them"}, or set '
      "dataset.broken to 'skip'"
    )
  about_files = about((entry.recording for entry in entries), config)
  layout = dataclasses.replace(layout, remarks=[*layout.remarks, *about_files])
  there = counts(entries)
  found = len(entries), sum(len(entry.recording) for entry in entries)
  kind = layout.kind if len(entries) > 1 else layout.kind.removesuffix(' each')
  kind = f'{count(len(entries), "recording")}, {kind}'
  held_out = [split for split in ('val', 'test') if there.get(split)]
  if held_out:
    splits = {
      split: [entry for entry in entries if entry.split == split] for split in ('train', *held_out)
    }
    if not splits['train']:
      more = f'; skipped: {some(map(str, skipped), 3)}' if skipped else ''
      raise UserError(
        f'{kind}, all of them held out ({" and ".join(held_out)}): none is left to train on{more}'
      )
    remarks = [*layout.remarks, *_torn(splits, config.group)]
    named = (f'{there[s]} held out: {layout.split_names.get(s, s)}' for s in held_out)
    return Divided(splits, skipped, found, '; '.join([kind, *named]), remarks)
  train = [entry for entry in entries if entry.split in ('train', None)]
  if not train:
    return Divided({}, skipped, found, kind, layout.remarks)
  sizes, remarks = [len(entry.recording) for entry in train], [*layout.remarks]
  if len(train) == 1 or (max(sizes) >= _LONG * sum(sizes) and not config.group):
    train, test, how, more = _cut(train, int(np.argmax(sizes)), config, whole)
    remarks += more
  else:
    names = [entry.recording.name for entry in train]
    names, how = hold_out(names, config.test_fraction, config.group)
    test = [entry for entry in train if entry.recording.name in names]
    train = [entry for entry in train if entry.recording.name not in names]
  return Divided({'train': train, 'test': test}, skipped, found, f'{kind}; {how}', remarks)


def _torn(splits, pattern):
  names = {split: [entry.recording.name for entry in entries] for split, entries in splits.items()}
  train, held_out = names.pop('train'), [name for part in names.values() for name in part]
  return [torn] if pattern and (torn := in_both(train, held_out, pattern)) else []


def broken(entry: Entry, config: DatasetConfig) -> str:
  """Returns why a recording breaks off, or '' if it does not, or is used in spite of it."""
  return '' if config.broken == 'keep' else getattr(entry.recording, 'fault', '')


def _broken(layout, config):
  names = ((entry.recording.name, broken(entry, config)) for entry in layout.entries)
  return [Skipped(name, problem) for name, problem in names if problem]


def too_short(entry: Entry, config: DatasetConfig) -> str:
  """Returns why no clip can be cut from a recording, or '' if one can."""
  length, recording = config.sequence_length, entry.recording
  try:
    if places(recording, length, config.frame_skip, config.fps):
      return ''
  except BrokenRecordingError as error:
    return str(error)
  needed = (
    f'{length / config.fps:g} seconds' if config.fps else f'{_needed(recording, config)} frames'
  )
  has = f'{recording.times[-1]:.3g} s' if config.fps else f'{len(recording)} frames'
  return f'too short ({has}; a clip needs {needed})'


def _needed(recording, config) -> int:
  """Returns how many frames a clip spans."""
  if not config.fps:
    return (config.sequence_length - 1) * config.frame_skip + 1
  return math.ceil(config.sequence_length / config.fps * (frame_rate(recording) or config.fps)) + 1


def _cut(entries, long, config, whole):
  """Returns training and held-out entries from one long recording, how, and remarks.

  Between its two parts a clip's frames are left out, as far as there are enough; the parts overlap
  where the recording is shorter than two clips.
  """
  entry = entries[long]
  n = len(entry.recording)
  needed = max(1, min(_USUAL_CLIP, n // 3)) if whole else _needed(entry.recording, config)
  n_test = max(needed, min(round(config.test_fraction * n), n - 2 * needed))
  gap = max(0, min(needed, n - n_test - needed))
  n_clips, length = (1, n_test) if whole else (min(_MAX_PARTS, n_test // needed), needed)
  begins = np.linspace(n - n_test, n - length, n_clips).round().astype(int)
  test = [_part(entry, f'{entry.recording.name}[{b}:{b + length}]', int(b), length) for b in begins]
  first = max(needed, n - n_test - gap)
  train = [*entries[:long], _part(entry, entry.recording.name, 0, first), *entries[long + 1 :]]
  name, remarks = entry.recording.name, []
  if both := max(0, first - (n - n_test)):
    remarks = [f'{name} is too short to be divided: {both} held-out frames are in training too']
  said = f'the last {n_test} of the {n} frames of {name} are held out'
  said += '' if whole else f', in {count(n_clips, "clip")}'
  return train, test, f'{said}, after a gap of {gap}' if gap else said, remarks


def _part(entry, name, first, n):
  actions = None if entry.actions is None else entry.actions[first : first + n]
  return dataclasses.replace(
    entry, recording=Part(name, entry.recording, first, n), actions=actions
  )
