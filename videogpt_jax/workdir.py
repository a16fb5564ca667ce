"""A run's folder: which experiment it belongs to, what has finished, and its trained models."""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from etils.epath import Path
from flax import nnx
from jax.sharding import Mesh

from videogpt_jax.api import Tokenizer, VideoGPT
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.training.checkpoint import latest_step, restore_model
from videogpt_jax.training.logging import read_json, write_json

TRAINED = ('vqvae', 'prior')
"""The stages that leave checkpoints."""

SHAPES_CHECKPOINTS = {
  'vqvae': ('seed', 'dataset', 'vqvae', 'vqvae_training'),
  'prior': ('seed', 'dataset', 'vqvae', 'vqvae_training', 'prior', 'prior_training', 'prior_codes'),
}
"""Sections that a stage's checkpoints depend on, so that they must not change under them."""

NOT_LEARNT = (
  *('log_every', 'evaluate_every', 'evaluate_batches', 'checkpoint_every'),
  *('attn_backend', 'remat'),
)
"""Keys of a training section, and of a prior, that change nothing that is learnt."""


def checkpoints_of(path: Path, stage: str) -> Path:
  """Returns the folder of a stage's checkpoints."""
  return path / stage / 'checkpoints'


def claim(path: Path, experiment: Experiment):
  """Makes `path` this experiment's folder, or sees that it already is.

  Raises:
    ValueError: it cannot be written to, or holds something else; nothing in it is changed then.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise ValueError(
      f'cannot make workdir {path} ({error.strerror or error}); choose another'
    ) from None
  in_bucket = '://' in str(path)  # whose rights show when something is written
  if not in_bucket and not os.access(path, os.W_OK | os.X_OK):
    raise ValueError(f'cannot write to workdir {path}; choose another')
  if not (path / 'config.json').exists():
    if any(path.iterdir()):
      raise ValueError(
        f'workdir {path} holds files and no config.json, so that it is not of this program; '
        'choose an empty or new folder'
      )
  else:
    _check_same(path, experiment)
  write_json(path / 'config.json', dataclasses.asdict(experiment))


def adopt(path: Path, experiment: Experiment, others: Sequence[Path]) -> list[str]:
  """Takes over what another run has trained just as this experiment would.

  A prior is taken over only together with the VQ-VAE that it was trained on.

  Args:
    path: this experiment's folder; what it has begun to train itself stays.
    experiment: what it belongs to.
    others: folders of other runs.
  Returns:
    the stages that were taken over.
  Raises:
    ValueError: `path` cannot be this experiment's folder, see `claim`.
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
    pairs = ((getattr(old, name), getattr(experiment, name)) for name in SHAPES_CHECKPOINTS[stage])
    if any(any(_differences(*pair, '')) for pair in pairs) or not is_trained(other, stage):
      break
    stages.append(stage)
  return stages


def _check_same(path: Path, experiment: Experiment):
  old, new = read_experiment(path), experiment
  for stage, sections in SHAPES_CHECKPOINTS.items():
    if not has_checkpoints(path, stage):
      continue
    for section in sections:
      for key, was, wanted in _differences(getattr(old, section), getattr(new, section), section):
        raise ValueError(
          f'workdir {path} holds {stage} checkpoints of another configuration: {key} is {was!r} '
          f'there and {wanted!r} here; choose another --workdir, or set {key} back'
        )


def _differences(old: Any, new: Any, path: str):
  """Yields (key, old, new) wherever two sections differ in what is learnt."""
  if not dataclasses.is_dataclass(old):
    if old != new:
      yield path, old, new
    return
  for field in dataclasses.fields(old):
    if field.name not in NOT_LEARNT:
      pair = getattr(old, field.name), getattr(new, field.name)
      yield from _differences(*pair, f'{path}.{field.name}')


def has_checkpoints(path: Path, stage: str) -> bool:
  """Whether a stage has begun to leave checkpoints."""
  folder = checkpoints_of(path, stage)
  return folder.is_dir() and any(child.name.isdigit() for child in folder.iterdir())


def write_class_names(path: Path, names: Sequence[str]):
  """Notes the classes' names, so that sampling needs no data set."""
  write_json(path / 'classes.json', list(names))


def class_names(path: Path, n_classes: int) -> list[str]:
  """Returns the names noted in a workdir, or else numbers, of `n_classes` classes."""
  names = read_json(path / 'classes.json', []) if path.is_dir() else []
  return names[:n_classes] or [str(i) for i in range(n_classes)]


def read_experiment(path: Path) -> Experiment:
  """Returns the experiment that `path` belongs to.

  Raises:
    FileNotFoundError: it is no workdir.
    ValueError: its config.json is broken.
  """
  file = path / 'config.json'
  if not file.exists():
    raise FileNotFoundError(
      f'{path} has no config.json, so that it is no workdir of a run; give the --workdir that main '
      'trained in, or make one of a published checkpoint with import_torch'
    )
  try:
    return from_dict(json.loads(file.read_text()))
  except json.JSONDecodeError as error:
    raise ValueError(f'{file} is broken ({error}); restore it or train anew') from None


def steps_done(path: Path, stage: str) -> tuple[int, int]:
  """Returns the step of a stage's newest checkpoint, 0 if there is none, and the steps in all."""
  steps = getattr(read_experiment(path), f'{stage}_training').steps
  if not has_checkpoints(path, stage):
    return 0, steps
  return latest_step(checkpoints_of(path, stage)) or 0, steps


def is_trained(path: Path, stage: str) -> bool:
  """Whether a stage's last checkpoint is there."""
  if not has_checkpoints(path, stage):
    return False
  step, steps = steps_done(path, stage)
  return step == steps


def unfinished(path: Path) -> list[str]:
  """Says of which of its models a workdir's training has not ended; a file has nothing to say."""
  found = []
  for stage in TRAINED if path.is_dir() else ():
    step, steps = steps_done(path, stage)
    if step < steps:
      found.append(f'the {stage} of {path} has been trained for {step} of {steps} steps only')
  return found


def settings_of(experiment: Experiment, stage: str) -> dict[str, Any]:
  """What the outputs of an untrained stage (sample, evaluate) depend on."""
  everything = dataclasses.asdict(experiment)
  wanted = {'sample': ('sample',), 'evaluate': ('sample',)}[stage]
  return {name: everything[name] for name in (*SHAPES_CHECKPOINTS['prior'], *wanted)}


def is_finished(path: Path, experiment: Experiment, stage: str) -> bool:
  """Whether a stage has done all that this experiment asks of it."""
  if stage in TRAINED:
    return is_trained(path, stage)
  done = read_json(path / 'finished.json', {}).get(stage)
  return done == json.loads(json.dumps(settings_of(experiment, stage)))


def mark_finished(path: Path, experiment: Experiment, stage: str):
  """Notes that sample or evaluate has ended, and with which settings."""
  file = path / 'finished.json'
  write_json(file, read_json(file, {}) | {stage: settings_of(experiment, stage)})


def load_tokenizer(path: Path) -> Tokenizer:
  """Returns the trained VQ-VAE of a workdir.

  Raises:
    FileNotFoundError: there is none, or `path` is no workdir.
  """
  experiment = read_experiment(path)
  vqvae = nnx.eval_shape(lambda: VQVAE(experiment.vqvae, rngs=nnx.Rngs(0)))
  _restore(vqvae, path, 'vqvae')
  return Tokenizer(vqvae, experiment.dataset.sequence_length, experiment.dataset.resolution)


def load_videogpt(path: Path, mesh: Mesh | None = None) -> VideoGPT:
  """Returns the trained prior and VQ-VAE of a workdir.

  Args:
    path: of the workdir.
    mesh: to spread the prior over as it is read, where no device could hold all of it.
  Raises:
    FileNotFoundError: one of them is missing, or `path` is no workdir.
  """
  tokenizer = load_tokenizer(path)
  experiment = read_experiment(path)
  # It may have been trained with a kernel that this platform lacks.
  config = dataclasses.replace(experiment.prior, attn_backend='auto')
  prior = nnx.eval_shape(lambda: Prior(config, tokenizer.spec, rngs=nnx.Rngs(0)))
  _restore(prior, path, 'prior', mesh)
  return VideoGPT(tokenizer, prior)


def _restore(model: nnx.Module, path: Path, stage: str, mesh: Mesh | None = None):
  if not has_checkpoints(path, stage):
    raise FileNotFoundError(f'workdir {path} has no trained {stage}; run --stages={stage} first')
  _, params, variables = nnx.split(model, nnx.Param, ...)
  nnx.update(model, *restore_model(checkpoints_of(path, stage), params, variables, mesh))
