"""What the layouts find at a path."""

import numpy as np

from videogpt_jax.framing import Framing
from videogpt_jax.input import DatasetConfig, layouts
from videogpt_jax.input.recording import read


def found(path, **settings):
  return layouts.find(DatasetConfig('folder', str(path), **settings))


def told(path, **settings):
  """Returns (name, frames, split, label) of each recording."""
  return [
    (entry.recording.name, len(entry.recording), entry.split, entry.label)
    for entry in found(path, **settings).entries
  ]


def grey(entry):
  """Returns a tenth of the brightness of each frame of a recording."""
  n = len(entry.recording)
  video = read(entry.recording, np.arange(n), Framing((4, 4)))
  assert video.shape == (n, 4, 4, 3)
  return (video.mean((1, 2, 3)) / 10).round().astype(int).tolist()
