"""Trackio. Figures lie on this machine, in TRACKIO_DIR, unless TRACKIO_SPACE_ID names a Space."""

import os
import tempfile
from collections.abc import Mapping

import numpy as np
import trackio

from videogpt_jax.training.trackers.run import TrackedRun, as_gif


class Writer:
  """A run of trackio, which knows runs by their names.

  Attributes:
    id: of the run.
  """

  def __init__(self, run: TrackedRun):
    self.id = run.id
    self._run = trackio.init(
      project=run.project,
      name=f'{run.name}-{run.id}',
      config=dict(run.settings),
      resume='allow',
      embed=False,
    )

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    self._run.log(dict(scalars), step=step)

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    with tempfile.TemporaryDirectory() as there:
      shown = {}
      for i, (name, batch) in enumerate(videos.items()):
        file = os.path.join(there, f'{i}.gif')
        with open(file, 'wb') as out:
          out.write(as_gif(batch))
        shown[name] = trackio.Video(file)
      self._run.log(shown, step=step)  # copies the files

  def close(self, failed: bool = False):
    del failed  # which trackio has no word for
    self._run.finish()
