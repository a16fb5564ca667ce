"""Weights & Biases. WANDB_MODE=offline writes to WORKDIR/wandb; `wandb sync` uploads that later."""

import io
from collections.abc import Mapping

import numpy as np
import wandb

from videogpt_jax.training.trackers.run import TrackedRun, as_gif
from videogpt_jax.training.writers import PATIENCE


class Writer:
  """A run of W&B; each stage counts its own steps.

  Attributes:
    id: of the run.
  """

  def __init__(self, run: TrackedRun):
    self.id, self._stages = run.id, set()
    self._run = wandb.init(
      project=run.project,
      name=run.name,
      id=run.id,
      resume='allow',
      dir=run.folder,
      config=dict(run.settings),
      allow_val_change=True,  # of a run that goes on with more steps, say
      settings=wandb.Settings(finish_timeout=PATIENCE),
    )

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    self._log(step, scalars)

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    self._log(
      step, {k: wandb.Video(io.BytesIO(as_gif(v)), format='gif') for k, v in videos.items()}
    )

  def close(self, failed: bool = False):
    self._run.finish(exit_code=int(failed))

  def _log(self, step: int, values: Mapping):
    for stage in {name.split('/')[0] for name in values}:
      if stage not in self._stages:
        self._stages.add(stage)
        self._run.define_metric(f'{stage}/*', step_metric=f'{stage}/step')
      own = {name: value for name, value in values.items() if name.split('/')[0] == stage}
      self._run.log({**own, f'{stage}/step': step})
