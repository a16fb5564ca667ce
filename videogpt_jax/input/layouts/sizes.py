"""Sizes of the pictures of recordings, by a look at the heads of some."""

import os
from collections.abc import Callable, Sequence

from videogpt_jax.input.faults import printable
from videogpt_jax.input.images import image_size
from videogpt_jax.input.layouts.layout import some
from videogpt_jax.input.recording import BrokenRecordingError, changes_size

_MIN_LOOKS, _MAX_LOOKS = 3, 20_000
"""Pictures that are looked at: of each recording that is, and at most so many in all."""


def common_size(
  names: Sequence[str], source: Callable[[str], str | os.PathLike | bytes], most: int = _MIN_LOOKS
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
  """Returns the (h, w) of all pictures of a recording or None, and remarks, by some of them.

  Args:
    names: of the pictures.
    source: returns the file or the content of one.
    most: how many to look at, at most.
  Raises:
    BrokenRecordingError: the first is no picture.
  """
  try:
    size = image_size(source(names[0]))
  except BrokenRecordingError as error:
    raise BrokenRecordingError(f'{printable(names[0])}: {error}') from error
  sizes, bad = {}, []
  for name in names[:: -(-len(names) // most)]:
    try:
      h, w = image_size(source(name), turned=False)
      sizes.setdefault((w, h), name)
    except BrokenRecordingError as error:
      bad.append(f'{printable(name)} ({error})')
  remarks = [changes_size(sizes)] if len(sizes) > 1 else []
  remarks += [f'frames that cannot be read: {some(bad, 3)}'] if bad else []
  return None if len(sizes) > 1 else size, tuple(remarks)


def looks(n_recordings: int, n_pictures: int) -> tuple[int, int]:
  """Returns which recordings `common_size` may look at, every first, and how many pictures of each.

  So that a large data set is not read as a whole.
  """
  every = max(1, -(-_MIN_LOOKS * n_recordings // _MAX_LOOKS))
  return every, max(_MIN_LOOKS, _MAX_LOOKS * n_recordings // max(n_pictures, 1))
