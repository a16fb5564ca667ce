"""Trackers of experiments: Weights & Biases, MLflow and trackio, each behind a `Writer`."""

import contextlib
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils.epath import Path

from videogpt_jax import optional
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, write_json
from videogpt_jax.training.trackers.config import TrackingConfig
from videogpt_jax.training.trackers.run import TrackedRun
from videogpt_jax.training.writers import Background, Writer

FILE = 'tracking.json'
"""Where a workdir keeps the names of its runs, by tracker and project."""


@contextlib.contextmanager
def opened(
  config: TrackingConfig,
  path: Path,
  name: str,
  settings: Mapping[str, Any],
  warn: Callable[[str], None],
) -> Iterator[list[Writer]]:
  """Opens a run in each tracker, or goes on with the workdir's own; closes them at the end.

  Args:
    config: which trackers.
    path: the workdir.
    name: of the experiment.
    settings: nested, to be shown beside the figures.
    warn: prints a warning.
  Raises:
    UserError: a library is missing, or a tracker cannot be reached.
  """
  modules = {library: _module(library) for library in config.libraries}
  known = read_json(path / FILE, {})
  with contextlib.ExitStack() as stack:
    writers = []
    for library, module in modules.items():
      key = f'{library}:{config.project}'
      run = TrackedRun(
        project=config.project,
        name=config.run or name,
        id=str(known.get(key) or uuid.uuid4().hex[:8]),
        folder=None if '://' in str(path) else str(path),
        settings=settings,
      )
      try:
        writer = module.Writer(run)
      except Exception as error:  # whatever a library or a network raises
        reason = ' '.join(str(error).split())[:300]
        raise UserError(f'tracking.to: {library} does not start ({reason})') from error
      known[key] = writer.id
      writers.append(Background(library, writer, warn))
      stack.push(lambda kind, *_, last=writers[-1]: last.close(failed=kind is not None))
      write_json(path / FILE, known)
    yield writers


def _module(library: str) -> types.ModuleType:
  try:
    match library:
      case 'wandb':
        from videogpt_jax.training.trackers import wandb as module
      case 'mlflow':
        from videogpt_jax.training.trackers import mlflow as module
      case 'trackio':
        from videogpt_jax.training.trackers import trackio as module
  except ModuleNotFoundError as error:
    raise (optional.explain(error) or error) from error
  return module
