"""Chooses the recordings to hold out where a data set holds none out itself."""

import collections
import hashlib
import re
from collections.abc import Sequence

from videogpt_jax.errors import UserError
from videogpt_jax.input.layouts.layout import some


def group(name: str, pattern: str) -> str:
  """Returns the group of a recording: what the first brackets of the pattern match in its name.

  That of the whole pattern if it has no brackets; the name itself if it matches nothing, or ''.
  """
  match = re.search(pattern, name) if pattern else None
  return (match[1] if match.re.groups else match[0]) or name if match else name


def hold_out(names: Sequence[str], fraction: float, pattern: str = '') -> tuple[set[str], str]:
  """Returns the recordings to hold out, whole groups of them, and how they were chosen.

  At least one group, not all, and independent of their order: in the order of a digest, each group
  that brings the number of recordings closer to the fraction.

  Args:
    names: of the recordings, at least two.
    fraction: of them, to hold out.
    pattern: see `group`; '' makes each recording a group of its own.
  Raises:
    UserError: the pattern matches no name, or all are one group.
  """
  groups = collections.defaultdict(list)
  for name in names:
    groups[group(name, pattern)].append(name)
  if pattern and not any(re.search(pattern, name) for name in names):
    raise UserError(f'dataset.group ({pattern!r}) matches no recording, such as {names[0]}')
  if len(groups) < 2:
    raise UserError(
      f'dataset.group ({pattern!r}) makes all {len(names)} recordings one group, '
      f'{next(iter(groups))!r}, and none can be held out; choose smaller groups'
    )
  wanted = min(max(1, round(fraction * len(names))), len(names) - 1)
  chosen, n = [], 0
  for key in sorted(groups, key=lambda key: hashlib.sha256(key.encode()).digest()):
    size = len(groups[key])
    if abs(n + size - wanted) < abs(n - wanted) and n + size < len(names):
      chosen.append(key)
      n += size
  chosen = chosen or [min(groups, key=lambda key: (len(groups[key]), key))]
  held_out = {name for key in chosen for name in groups[key]}
  how = f'{len(held_out)} held out, '
  if pattern:
    how += f'{len(chosen)} of {len(groups)} groups: {some(chosen, 3)}'
  else:
    how += f'by name: {some((name for name in names if name in held_out), 3)}'
  return held_out, how


def in_both(train: Sequence[str], held_out: Sequence[str], pattern: str) -> str:
  """Returns a remark on groups that a data set's own splits tear apart, or ''."""
  both = {group(name, pattern) for name in train} & {group(name, pattern) for name in held_out}
  return f'groups in training and held out: {some(sorted(both))}' if both else ''
