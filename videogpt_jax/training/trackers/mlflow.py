"""MLflow. MLFLOW_TRACKING_URI names a server or a store; without it, mlflow.db is written here."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Metric, Param

from videogpt_jax.training.trackers.run import TrackedRun, as_gif

MOST = 100
"""Parameters that a request may hold, by MLflow's limits; so many figures are within them too."""

LONGEST = 6000
"""Letters that a parameter may have, by MLflow's limits."""


class Writer:
  """A run of MLflow.

  Attributes:
    id: of the run.
  """

  def __init__(self, run: TrackedRun):
    self._client = mlflow.MlflowClient()
    known = self._known(run.id)
    self.id = run.id if known else self._new(run)
    self._client.update_run(self.id, status='RUNNING', name=run.name)
    told = known.data.params if known else {}  # which may not be told of again
    params = [Param(k, str(v)[:LONGEST]) for k, v in _flat(run.settings) if k not in told]
    for first in range(0, len(params), MOST):
      self._client.log_batch(self.id, params=params[first : first + MOST])

  def _known(self, run_id: str) -> mlflow.entities.Run | None:
    try:
      return self._client.get_run(run_id)
    except mlflow.MlflowException as error:
      if error.error_code != 'RESOURCE_DOES_NOT_EXIST':
        raise
      return None

  def _new(self, run: TrackedRun) -> str:
    found = self._client.get_experiment_by_name(run.project)
    experiment = found.experiment_id if found else self._client.create_experiment(run.project)
    return self._client.create_run(experiment, run_name=run.name).info.run_id

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    now = int(time.time() * 1000)
    metrics = [Metric(name, float(value), now, step) for name, value in scalars.items()]
    for first in range(0, len(metrics), MOST):
      self._client.log_batch(self.id, metrics=metrics[first : first + MOST])

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    for name, batch in videos.items():
      folder, _, base = name.rpartition('/')
      with tempfile.TemporaryDirectory() as there:
        file = os.path.join(there, f'{base}_{step:08d}.gif')
        with open(file, 'wb') as out:
          out.write(as_gif(batch))
        self._client.log_artifact(self.id, file, folder or None)

  def close(self, failed: bool = False):
    self._client.set_terminated(self.id, status='FAILED' if failed else 'FINISHED')


def _flat(settings: Mapping[str, Any], path: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in settings.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f'{path}{key}.')
    else:
      yield f'{path}{key}', value
