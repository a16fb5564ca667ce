"""Settings of the trackers of experiments."""

import dataclasses

from videogpt_jax.errors import UserError

LIBRARIES = ('wandb', 'mlflow', 'trackio')


@dataclasses.dataclass(frozen=True)
class TrackingConfig:
  """Where a run's figures go besides TensorBoard and the workdir.

  Attributes:
    to: trackers, separated by commas: wandb, mlflow, trackio. Their own environment variables name
      a server, or none (WANDB_MODE, MLFLOW_TRACKING_URI, TRACKIO_DIR).
    project: the project (W&B, trackio) or experiment (MLflow) that the run is filed under.
    run: what the run is called there; '' takes the experiment's name.
  """

  to: str = ''
  project: str = 'videogpt'
  run: str = ''

  def __post_init__(self):
    for name in self.libraries:
      if name not in LIBRARIES:
        raise UserError(f'to ({self.to!r}) must name some of {", ".join(LIBRARIES)}')
    if not self.project:
      raise UserError("project ('') must not be empty")

  @property
  def libraries(self) -> tuple[str, ...]:
    """The trackers, each once."""
    return tuple(dict.fromkeys(name.strip() for name in self.to.split(',') if name.strip()))
