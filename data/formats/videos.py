"""Reading an item that is one video file."""

import pathlib
from collections.abc import Iterator

import numpy as np

from data.formats import Item, Options, RawClip, UnusableError
from videogpt_jax.input.video_file import BrokenVideoError, iterate_frames, scan


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """The file's frames, sampled by time stamps (`fps`) or by number (`frame_skip`)."""
  path = pathlib.Path(item.path)
  try:
    recording = scan(path)
    if not options.fps:
      indices = np.arange(0, len(recording.stamps), options.frame_skip)
    else:
      n = int(recording.times[-1] * options.fps + 1e-6) + 1
      indices = recording.pick(0.0, n, fps=options.fps)
    yield RawClip(iterate_frames(path, iter(indices)))
  except BrokenVideoError as error:
    raise UnusableError(str(error)) from error
