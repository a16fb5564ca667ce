"""What a layout finds: recordings, and what belongs to each.

Letters: n frames of a recording; A size of an action.
"""

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.input.recording import BrokenRecordingError, Recording

SPLITS = ('train', 'val', 'test')


class Skipped(NamedTuple):
  """A recording that cannot be used, and why."""

  name: str
  reason: str

  def __str__(self) -> str:
    return f'{self.name}: {self.reason}'


def left_out(
  problems: Iterable[tuple[str, UserError]], entries: Collection['Entry']
) -> list[Skipped]:
  """Returns recordings that are left out for a problem each, by name.

  Raises:
    UserError: none is left, and not for broken files alone: a setting is wrong.
  """
  problems = list(problems)
  wrong = [error for _, error in problems if not isinstance(error, BrokenRecordingError)]
  if wrong and not entries:
    raise wrong[0]
  return [Skipped(name, str(error)) for name, error in problems]


@dataclasses.dataclass(frozen=True)
class Entry:
  """A recording of a data set, and what belongs to it.

  Attributes:
    recording: the frames.
    split: one of `SPLITS`, or None where the data set has none.
    label: its class, or None.
    actions: by frame: as they are stored, [n] or [n A], until `videogpt_jax.input.layouts.find`
      gives all of a data set one form, float32 [n A]; or None.
  """

  recording: Recording
  split: str | None = None
  label: str | None = None
  actions: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
  """The recordings of a data set, as they lie in it.

  Attributes:
    kind: what a recording is, such as 'a folder of frames each'.
    entries: the recordings, in the order of their names.
    skipped: recordings that cannot be read, or that belong nowhere.
    class_names: of the labels, where the data set numbers them itself.
    remarks: what a user should know, one line each.
    action_dim: size of an action (A), or None.
    choices: whether actions are one-hot.
    split_names: what the data set calls its splits, such as {'val': 'val/'}.
  """

  kind: str
  entries: Sequence[Entry]
  skipped: Sequence[Skipped] = ()
  class_names: Sequence[str] | None = None
  remarks: Sequence[str] = ()
  action_dim: int | None = None
  choices: bool = False
  split_names: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def remarked(self, remark: str) -> 'Layout':
    """Returns the layout with one more remark."""
    return dataclasses.replace(self, remarks=(*self.remarks, remark))

  def classes(self) -> tuple[str, ...] | None:
    """Returns the classes of the training recordings, or None.

    Raises:
      UserError: a held-out recording has a class that training lacks.
    """
    train = {entry.label for entry in self.entries if entry.split in ('train', None)}
    if None in train or not train:
      return None
    names = tuple(self.class_names or sorted(train))
    for split in ('val', 'test'):
      theirs = {entry.label or '(none)' for entry in self.entries if entry.split == split}
      if unknown := sorted(theirs - set(names)):
        there, here = (self.split_names.get(name, f'{name}/') for name in (split, 'train'))
        raise UserError(
          f'{there} has classes that {here} lacks: {some(unknown)}; a {split} class needs training '
          'recordings'
        )
    return names


def some(names: Iterable[str], n: int = 10) -> str:
  """Returns the first names as a list in a sentence."""
  names = list(names)
  more = f' and {len(names) - n} more' if len(names) > n else ''
  return ', '.join(names[:n]) + more


def count(n: int, thing: str) -> str:
  """Returns '1 recording', '3 recordings' or the like."""
  return f'{n} {thing}' if n == 1 else f'{n} {thing}s'


def counts(entries: Iterable[Entry]) -> dict[str, int]:
  """Returns the number of recordings in each split that there is."""
  found = collections.Counter(entry.split for entry in entries)
  return {split: found[split] for split in SPLITS if found[split]}
