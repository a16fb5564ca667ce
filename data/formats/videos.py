"""Reads an item that is one video file."""

import pathlib
from collections.abc import Iterator

import numpy as np

from data.formats import Item, Options, RawClip, UnusableError
from videogpt_jax.input.decoders import frames, scan
from videogpt_jax.input.recording import BrokenRecordingError, pick


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Yields the file's frames, sampled by time stamp (`fps`) or by number (`frame_skip`)."""
  path = pathlib.Path(item.path)
  try:
    recording = scan(path)
    if not options.fps:
      indices = np.arange(0, len(recording), options.frame_skip)
    else:
      n = int(recording.times[-1] * options.fps + 1e-6) + 1
      indices = pick(recording, 0.0, n, fps=options.fps)
    yield RawClip(frames(recording, indices, None))
  except BrokenRecordingError as error:
    raise UnusableError(str(error)) from error
