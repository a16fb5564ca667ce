"""What a world can begin with.

Axis letters: T H W frames, height, width; A action_dim.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from videogpt_jax import pixels, readers
from videogpt_jax.errors import UserError
from videogpt_jax.videogpt import VideoGPT

N_HELD_OUT = 8
"""Held-out clips that one can begin with."""


@dataclasses.dataclass(frozen=True)
class Scene:
  """Frames that a world can begin with.

  Attributes:
    name: what the page calls it.
    frames: float32 [T H W 3] in [-0.5, 0.5], or None for nothing.
    actions: float32 [T A] between them, or None.
    class_label: theirs, or None.
  """

  name: str
  frames: np.ndarray | None = None
  actions: np.ndarray | None = None
  class_label: int | None = None


NOTHING = Scene('nothing')
"""The model makes the first frame, too."""


def of_files(paths: Sequence[str], model: VideoGPT) -> list[Scene]:
  """Returns the first frames of videos or photos (UserError: one cannot be read)."""
  spec = model.vqvae.spec
  take = readers.Take(model.cut, spec.frame_size, spec.sequence_length, 1)
  files = map(pathlib.Path, paths)
  return [Scene(file.name, readers.read_frames('frames', file, take)) for file in files]


def of_model(path: str | os.PathLike) -> list[Scene]:
  """Returns held-out clips of a run's data, or those that an export brings.

  There are none, with a line, where a run's data are not at hand.
  """
  from etils.epath import Path

  from videogpt_jax import input as data
  from videogpt_jax import loading, workdir

  place = Path(loading.find_model(path))
  if not place.is_dir():
    brought = loading.load_starts(place)
    return (
      [] if brought is None else _of_clips(brought.frames, brought.actions, brought.class_label)
    )
  try:
    dataset = workdir.read_experiment(place).dataset
    batches = data.real_batches(dataset, split='test', start=None, batch_size=N_HELD_OUT)
    batch = next(batches)
  except (UserError, ModuleNotFoundError) as error:
    print(f"the run's held-out clips cannot be read: {error}; begin with a file of yours")
    return []
  n = int(batch['mask'].sum())
  return _of_clips(batch['video'][:n], batch.get('actions'), batch.get('label'))


def _of_clips(
  videos: np.ndarray, actions: np.ndarray | None, labels: np.ndarray | None
) -> list[Scene]:
  return [
    Scene(
      f'held-out clip {i + 1}',
      video,
      None if actions is None else actions[i],
      None if labels is None else int(labels[i]),
    )
    for i, video in enumerate(np.asarray(pixels.to_model_range(videos)))
  ]
