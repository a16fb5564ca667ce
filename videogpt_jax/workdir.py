"""A run's folder: the experiment that it belongs to, the stages that have finished, checkpoints."""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from etils.epath import Path
from flax import nnx
from jax.sharding import Mesh

from videogpt_jax import drift
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.files import REMEDY, read_json, write_json
from videogpt_jax.training.checkpoint import is_scored, latest_step, restore_model
from videogpt_jax.training.lock import LOCK

TRAINED = ('vqvae', 'prior')
"""The stages that leave checkpoints."""


def checkpoints_of(path: Path, stage: str) -> Path:
  """Returns the folder of a stage's checkpoints."""
  return path / stage / 'checkpoints'


def best_of(path: Path, stage: str) -> Path:
  """Returns the folder of a stage's best checkpoint, where a run keeps one."""
  return path / stage / 'best'


def claim(path: Path, experiment: Experiment) -> list[str]:
  """Makes `path` this experiment's folder, or checks that it already is.

  Returns:
    a line for each key that has changed since the last run, and what more steps mean.
  Raises:
    UserError: it cannot be written to, or holds something else; nothing in it is changed then.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f'cannot make workdir {path} ({error.strerror or error}); choose another'
    ) from None
  in_bucket = '://' in str(path)  # whose rights show when something is written
  if not in_bucket and not os.access(path, os.W_OK | os.X_OK):
    raise UserError(f'cannot write to workdir {path}; choose another')
  notes = []
  if not (path / 'config.json').exists():
    if any(child.name != LOCK for child in path.iterdir()):
      raise UserError(
        f'workdir {path} holds files and no config.json; this program did not make it; '
        'choose an empty or new folder'
      )
  else:
    notes = _check_same(path, experiment)
  write_json(path / 'config.json', dataclasses.asdict(experiment))
  return notes


def adopt(path: Path, experiment: Experiment, others: Sequence[Path]) -> list[str]:
  """Takes over what another run has trained with the same settings.

  A prior is taken over only together with the VQ-VAE that it was trained on.

  Args:
    path: this experiment's folder; what it has begun to train itself stays.
    experiment: what it belongs to.
    others: folders of other runs.
  Returns:
    the stages that were taken over.
  Raises:
    UserError: `path` cannot be this experiment's folder, see `claim`.
  """
  claim(path, experiment)
  if any(has_checkpoints(path, stage) for stage in TRAINED):
    return []
  found = [(_shared_stages(other, experiment), other) for other in others if other != path]
  stages, other = max(found, key=lambda pair: len(pair[0]), default=([], path))
  for stage in stages:
    unfinished = path / f'{stage}.copying'
    if unfinished.exists():
      unfinished.rmtree()
    _copy(other / stage, unfinished)
    unfinished.rename(path / stage)
  return stages


def _copy(folder: Path, target: Path):
  target.mkdir(parents=True)
  for child in folder.iterdir():
    if child.is_dir():
      _copy(child, target / child.name)
    else:
      child.copy(target / child.name)


def _shared_stages(other: Path, experiment: Experiment) -> list[str]:
  """The first stages that `other` has trained to the end with this experiment's settings."""
  stages = []
  for stage in TRAINED if (other / 'config.json').is_file() else ():
    old = read_experiment(other)
    differs = any(drift.learnt(change, stage) for change in drift.changes(old, experiment))
    if differs or not is_trained(other, stage):
      break
    stages.append(stage)
  return stages


def _check_same(path: Path, experiment: Experiment) -> list[str]:
  """Returns what has changed, a line each (UserError: checkpoints do not allow it)."""
  old = read_experiment(path)
  changed = list(drift.changes(old, experiment))
  notes = [f'configuration: {key} {was!r} -> {wanted!r}' for key, was, wanted in changed]
  for stage in filter(lambda stage: has_checkpoints(path, stage), TRAINED):
    slower, refused = _diverged(path, stage).exists(), []
    for change in (change for change in changed if drift.learnt(change, stage)):
      if drift.raises_steps(change, stage):
        done = latest_step(checkpoints_of(path, stage)) or 0
        notes.append(drift.of_more_steps(old, experiment, stage, done))
      elif not (slower and drift.lowers_rate(change, stage)):
        refused.append(change)
    if refused:
      raise UserError(
        f'workdir {path} holds {stage} checkpoints of another configuration: '
        f'{"; ".join(map(str, refused))}; choose another --workdir, or set back '
        f'{", ".join(change.key for change in refused)}'
      )
  return notes


def mark_diverged(path: Path, stage: str):
  """Records that a stage's numbers were not finite, so that a smaller rate may go on with it."""
  write_json(_diverged(path, stage), True)


def unmark_diverged(path: Path, stage: str):
  """Takes that back, since the stage has been trained to its end."""
  _diverged(path, stage).unlink(missing_ok=True)


def _diverged(path: Path, stage: str) -> Path:
  return path / stage / 'diverged.json'


def has_checkpoints(path: Path, stage: str) -> bool:
  """Whether a stage has begun to leave checkpoints."""
  return _holds_checkpoints(checkpoints_of(path, stage))


def _holds_checkpoints(folder: Path) -> bool:
  return folder.is_dir() and any(child.name.isdigit() for child in folder.iterdir())


def write_names(path: Path, of: str, names: Sequence[str]):
  """Writes down the names of 'classes' or 'actions', so that sampling needs no data set."""
  write_json(path / f'{of}.json', list(names))


def names(path: Path, of: str) -> tuple[str, ...]:
  """Returns the names of 'classes' or 'actions' noted in a workdir, or () where none are."""
  found = read_json(path / f'{of}.json', [])
  if not all(isinstance(name, str) for name in found):
    raise UserError(f'{path / of}.json is broken; it must be a list of names; restore it')
  return tuple(found)


def write_frame_rate(path: Path, fps: float):
  """Writes down the frames a second of the clips, so that sampled videos have as many."""
  write_json(path / 'frame_rate.json', fps)


def frame_rate(path: Path) -> float:
  """Returns the frames a second of a workdir's clips, or 0 where it is unknown."""
  file = path / 'frame_rate.json'
  found = read_json(file, 0.0)
  if not 0 <= found <= 1000:
    raise UserError(f'{file} is broken (it holds {found}); {REMEDY}')
  return found


def read_experiment(path: Path) -> Experiment:
  """Returns the experiment that `path` belongs to.

  Raises:
    UserFileError: it is no workdir.
    UserError: its config.json is broken.
  """
  file = path / 'config.json'
  if not file.exists():
    raise UserFileError(
      f'{path} has no config.json, so it is no workdir of a run; give the folder of a run, or make '
      'one from a published checkpoint with import_torch'
    )
  values = read_json(file, {}, 'restore it or train anew')
  try:
    prior = values.get('prior')
    if isinstance(prior, dict) and prior.get('action_dim'):
      prior.setdefault('action_form', 'during')  # runs of before there was a choice
    return from_dict(values)
  except UserError as error:
    raise UserError(f'{file}: {error}') from None


def steps_done(path: Path, stage: str) -> tuple[int, int]:
  """Returns the step of a stage's newest checkpoint, 0 if there is none, and the steps in all."""
  steps = getattr(read_experiment(path), f'{stage}_training').steps
  if not has_checkpoints(path, stage):
    return 0, steps
  return latest_step(checkpoints_of(path, stage)) or 0, steps


def is_trained(path: Path, stage: str) -> bool:
  """Whether a stage's last checkpoint is there, and has been scored."""
  if not has_checkpoints(path, stage):
    return False
  step, steps = steps_done(path, stage)
  return step == steps and is_scored(checkpoints_of(path, stage))


def unfinished(path: Path) -> list[str]:
  """Returns a line for each model of a workdir whose training has not finished; none for a file."""
  found = []
  for stage in TRAINED if path.is_dir() else ():  # a file states no steps
    step, steps = steps_done(path, stage)
    if step < steps:
      found.append(f'the {stage} of {path} has been trained for {step} of {steps} steps only')
  return found


def in_use(path: Path) -> list[str]:
  """Returns a line for each model of a workdir: the checkpoint in use; none for a file."""
  found = []
  for stage in TRAINED if path.is_dir() else ():
    folder = _checkpoints_in_use(path, stage)
    if (step := latest_step(folder)) is not None:
      kind = 'the best' if folder == best_of(path, stage) else 'the last'
      found.append(f'{stage}: {kind} checkpoint, step {step}')
  return found


def _checkpoints_in_use(path: Path, stage: str) -> Path:
  kept = _holds_checkpoints(best_of(path, stage))
  return best_of(path, stage) if kept else checkpoints_of(path, stage)


def settings_of(experiment: Experiment, stage: str) -> dict[str, Any]:
  """Returns what the outputs of sample or evaluate depend on."""
  everything = dataclasses.asdict(experiment)
  wanted = {'sample': ('sample',), 'evaluate': ('sample', 'evaluation')}[stage]
  return {name: everything[name] for name in (*drift.SHAPES_CHECKPOINTS['prior'], *wanted)}


def is_finished(path: Path, experiment: Experiment, stage: str) -> bool:
  """Whether a stage has done all that this experiment asks of it."""
  if stage in TRAINED:
    return is_trained(path, stage)
  done = read_json(path / 'finished.json', {}).get(stage)
  return done == json.loads(json.dumps(settings_of(experiment, stage)))


def mark_finished(path: Path, experiment: Experiment, stage: str):
  """Records that sample or evaluate has finished, and with which settings."""
  file = path / 'finished.json'
  write_json(file, read_json(file, {}) | {stage: settings_of(experiment, stage)})


def check_trained(path: Path, stage: str):
  """Refuses a folder without any checkpoint of a stage (UserFileError)."""
  if not has_checkpoints(path, stage):
    raise UserFileError(f'workdir {path} has no trained {stage}; run --stages={stage} first')


def restore(
  path: Path, stage: str, params: nnx.State, variables: nnx.State, mesh: Mesh | None = None
) -> tuple[nnx.State, nnx.State]:
  """Returns a stage's trained network: the best one where the run keeps it, else the newest.

  Args:
    path: of the workdir.
    stage: of `TRAINED`.
    params, variables: their shapes.
    mesh: to spread them over as they are read, where no device could hold all of them.
  Raises:
    UserFileError: nothing is trained there, or `path` is no workdir.
  """
  check_trained(path, stage)
  return restore_model(_checkpoints_in_use(path, stage), params, variables, mesh)
