"""Actions of recordings: one convention, whatever was stored.

Action i leads from frame i to frame i + 1. The last frame's leads nowhere; it may be missing and is
then zeros.

Letters: n frames of a recording; T frames of a clip; A size of an action.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from videogpt_jax.errors import UserError

ORDERS = ('leads_from', 'leads_to')
_MAX_CHOICES = 1024  # more are measurements, not choices


@dataclasses.dataclass(frozen=True)
class Actions:
  """Actions of all recordings of a data set, in one form.

  Attributes:
    dim: size of an action (A).
    of: float32 [n A] by recording.
    wrong: why a recording's actions cannot be used, by recording.
    choices: whether an action is one-hot: such actions cannot be added up.
  """

  dim: int
  of: Mapping[str, np.ndarray]
  wrong: Mapping[str, str]
  choices: bool


def settle(
  stored: Mapping[str, np.ndarray | None], lengths: Mapping[str, int], order: str
) -> Actions | None:
  """Returns the actions of recordings in one form, or None if no recording has any.

  Whole numbers and texts are choices and become one-hot, over all recordings. A row of several
  whole numbers becomes one one-hot vector after another, but for rows of nothing but 0 and 1, and
  with negative or large numbers, which are measurements.

  Args:
    stored: as found, [n], [n A], or one less than the frames; None where there are none.
    lengths: number of frames (n) of each recording.
    order: 'leads_from', or 'leads_to' where action i is the one that led to frame i.
  """
  there = {name: _table(values) for name, values in stored.items() if values is not None}
  if not there:
    return None
  wrong = {name: 'no actions, which others have' for name in stored.keys() - there.keys()}
  widths = {name: values.shape[1] for name, values in there.items()}
  usual = max(set(widths.values()), key=list(widths.values()).count)
  for name, values in list(there.items()):
    if problem := _problem(values, usual, lengths[name]):
      wrong[name] = problem
      del there[name]
  if not there:
    return Actions(usual, {}, wrong, choices=False)
  choices = _choices(list(there.values()))
  if choices is not None:
    there = {name: _one_hot(values, choices) for name, values in there.items()}
  finished = {name: _fit(values, lengths[name], order) for name, values in there.items()}
  dim = next(iter(finished.values())).shape[1]
  one_hot = choices is not None or are_choices(finished.values())
  return Actions(dim, finished, wrong, choices=one_hot)


def are_choices(tables: Iterable[np.ndarray]) -> bool:
  """Returns whether actions, each [n A], are one-hot vectors, one or several side by side.

  Rows of zeros are frames without an action. All others have the same number of ones, less than A.
  """
  ones = set()
  for values in tables:
    if not np.isin(values, (0, 1)).all():
      return False
    ones |= {*np.count_nonzero(values, axis=1).tolist()}
    A = values.shape[1]
  return len(ones - {0}) == 1 and max(ones) < A


def refuse_choices(name: str):
  """Refuses to leave out frames whose actions are choices.

  Raises:
    UserError: always; `name` is the recording's or the data set's.
  """
  raise UserError(
    f'{name}: its actions are choices, one of several, and cannot be added up over the frames that '
    'frame_skip or fps leaves out; use frame_skip=1 and fps=0'
  )


def between(actions: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """Returns the actions of a clip: those of the frames that it leaves out are added up.

  Args:
    actions: float32 [n A], of a recording.
    frames: int [T], the recording's frames that the clip shows, not decreasing.
  Returns:
    float32 [T A], what leads from each frame of the clip to the next.
  """
  step = max(1, int(frames[-1] - frames[-2])) if len(frames) > 1 else 1
  ends = np.append(frames[1:], min(frames[-1] + step, len(actions)))
  sums = np.concatenate([np.zeros((1, actions.shape[1])), np.cumsum(actions, 0, np.float64)])
  added = (sums[ends] - sums[frames]).astype(np.float32)
  alone = (ends - frames == 1)[:, None]  # as they are, not a difference of sums
  return np.where(alone, actions[frames], added)


def mirror(rule: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns what mirroring a clip left to right does to its actions: new = old[order] * sign.

  Args:
    rule: such as '0:1 -2': actions 0 and 1 swap, 2 changes its sign; 'none' leaves all as they are.
    dim: size of an action (A).
  Returns:
    order int [A], and sign float32 [A].
  Raises:
    UserError: the rule is written otherwise, or names an action that there is not.
  """
  order, sign = np.arange(dim), np.ones(dim, np.float32)
  for word in [] if rule == 'none' else rule.split():
    numbers = word.removeprefix('-').split(':')
    if not all(number.isdigit() for number in numbers) or len(numbers) > 2:
      raise UserError(
        f"dataset.mirror_actions ({rule!r}) must be like '0:1 -2' (0 and 1 swap, 2 changes its "
        "sign), or 'none'"
      )
    if outside := [number for number in numbers if int(number) >= dim]:
      raise UserError(
        f'dataset.mirror_actions ({rule!r}) names action {outside[0]}; there are 0 to {dim - 1}'
      )
    first, last = int(numbers[0]), int(numbers[-1])
    order[[first, last]] = last, first
    if word.startswith('-'):
      sign[[first, last]] = -1
  return order, sign


def _table(values):
  values = np.asarray(values)
  if values.dtype.kind == 'O':
    values = values.astype(str)
  return (
    values[:, None]
    if values.ndim == 1
    else values.reshape(len(values), -1)
    if values.ndim
    else values.reshape(1, 1)
  )


def _problem(values, width, n_frames):
  if values.dtype.kind not in 'biufU':
    return f'actions are {values.dtype}'
  if values.shape[1] != width:
    return f'actions have {values.shape[1]} numbers, those of others {width}'
  if len(values) not in (n_frames, n_frames - 1):
    return f'{len(values)} actions for {n_frames} frames'
  if values.dtype.kind == 'f' and not np.isfinite(values).all():
    return 'actions hold NaN or infinity'
  return None


def _choices(tables: Sequence[np.ndarray]) -> list[np.ndarray] | None:
  """Returns what can be chosen in each column, or None if actions are measurements."""
  kinds = {values.dtype.kind for values in tables}
  if 'f' in kinds and 'U' not in kinds:
    return None
  columns = [
    np.unique(np.concatenate(column)) for column in zip(*(t.T for t in tables), strict=True)
  ]
  if 'U' in kinds:
    return columns
  least = min(int(column.min()) for column in columns)
  most = max(int(column.max()) for column in columns)
  if len(columns) > 1 and (least < 0 or most <= 1 or most >= _MAX_CHOICES):
    return None
  if most >= _MAX_CHOICES:
    raise UserError(
      f'actions are whole numbers up to {most}, too many to choose from; store measurements as '
      'floats'
    )
  return [column if least < 0 else np.arange(int(column.max()) + 1) for column in columns]


def _one_hot(values, choices):
  return np.concatenate(
    [values[:, a, None] == column for a, column in enumerate(choices)], axis=1
  ).astype(np.float32)


def _fit(values, n_frames, order):
  values = values.astype(np.float32)
  if order == 'leads_to' and len(values) == n_frames:
    values = values[1:]
  return np.pad(values, ((0, n_frames - len(values)), (0, 0)))
