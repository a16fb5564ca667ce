"""Import of published checkpoints into workdirs, and export of trained models."""

import dataclasses
import os
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from videogpt_jax import model_folder, typed, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.drift import SAME_MODEL
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, write_json
from videogpt_jax.framing import frame_size
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.interop import published
from videogpt_jax.loading import find_model, load_model, load_videogpt, load_vqvae
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.tokenizer import Tokenizer, abstract_tokenizer
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.step import Stage, TrainState, state_of
from videogpt_jax.videogpt import VideoGPT

COUNTERS = 'batch_norm_steps.json'
"""File in a workdir with the step counts of batch norms, which only an export needs."""


def stated_experiment(found: published.Published, name: str) -> Experiment:
  """Returns the experiment that a file states, with noise in place of its unknown data set."""
  training = TrainingConfig(steps=max(found.step, 1))
  prior = {} if found.prior is None else {'prior': found.prior, 'prior_training': training}
  return Experiment(
    name=name,
    dataset=DatasetConfig(
      source='random', sequence_length=found.sequence_length, resolution=found.resolution
    ),
    vqvae=found.vqvae,
    vqvae_training=training,
    **prior,
  )


def check_same(found: published.Published, experiment: Experiment):
  """Refuses an experiment whose models differ from those of the file (UserError)."""
  stated = stated_experiment(found, experiment.name)
  keys = {'dataset': ['sequence_length', 'resolution']}
  for section in ('vqvae', 'prior') if found.prior else ('vqvae',):
    fields = dataclasses.fields(getattr(stated, section))
    keys[section] = [field.name for field in fields if field.name not in SAME_MODEL]
  for section, names in keys.items():
    for name in names:
      theirs = getattr(getattr(stated, section), name)
      ours = getattr(getattr(experiment, section), name)
      same = frame_size(theirs) == frame_size(ours) if name == 'resolution' else theirs == ours
      if not same:
        raise UserError(
          f'{section}.{name} is {theirs!r} in the checkpoint and {ours!r} in the configuration; '
          f'add --config.{section}.{name}={theirs}'
        )


def import_to_workdir(path: Path, found: published.Published, experiment: Experiment):
  """Makes `path` the workdir of an experiment whose stages have finished with these models.

  Raises:
    UserError: the folder is not empty, or the experiment has other models.
  """
  check_same(found, experiment)
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise UserError(f'workdir {path} is not empty; choose an empty or new folder')
  workdir.claim(path, experiment)
  stage = vqvae_stage(found.vqvae, found.codes.latent_shape)
  models = [(stage, found.vqvae_state, experiment.vqvae_training)]
  if found.prior is not None:
    tokenizer = abstract_tokenizer(found.vqvae, found.sequence_length, found.resolution)
    stage = prior_stage(found.prior, tokenizer)
    models.append((stage, found.prior_state, experiment.prior_training))
  for stage, state, training in models:
    with Checkpoints(workdir.checkpoints_of(path, stage.name)) as checkpoints:
      checkpoints.save(_as_trained(stage, state, training))
  write_json(path / COUNTERS, dict(found.counters))


def _as_trained(stage: Stage, state: nnx.State, training: TrainingConfig) -> TrainState:
  """Returns the state at the end of training, with a new optimiser."""
  arrays = nnx.split_state(state, nnx.Param, ...)
  fresh = state_of(stage, training.optimizer, training.steps, *arrays)
  return dataclasses.replace(fresh, step=jnp.asarray(training.steps, jnp.int32))


def export_model(path: str | os.PathLike, out: Path, vqvae_path: str | None = None) -> list[Path]:
  """Writes vqvae.ckpt and .safetensors to `out`, and gpt.* if the model has a prior.

  Args:
    path: a workdir, an export, a published checkpoint, or the name of a published model.
    out: folder, created if necessary.
    vqvae_path: path of the VQ-VAE's file that the prior's file states; by default in `out`.
  Returns:
    the files.
  Raises:
    UserFileError: there is no such model, or a workdir holds no trained VQ-VAE.
    UserError: the published code has no such model; nothing is written then.
  """
  place = find_model(path)
  models = _of_workdir(place) if place.is_dir() else _of_file(place)
  vqvae_path = vqvae_path or str(out / 'vqvae.ckpt')
  trees = {name: published.to_checkpoint(model, vqvae_path) for name, model in models.items()}
  out.mkdir(parents=True, exist_ok=True)
  files = [out / f'{name}.{kind}' for name in trees for kind in ('ckpt', 'safetensors')]
  for file in files:
    published.write(file, trees[file.stem])
  return files


def read(path: Path) -> published.Published:
  """Returns what a published checkpoint or an export holds; errors are those of `load_videogpt`."""
  if not model_folder.holds(path):
    return published.load(path)
  model = load_model(path)
  tokenizer = model.vqvae if isinstance(model, VideoGPT) else model
  found = _of_tokenizer(tokenizer)
  return _with_prior(found, model) if isinstance(model, VideoGPT) else found


def _of_file(path: Path) -> dict[str, published.Published]:
  found = read(path)
  models = {'vqvae': dataclasses.replace(found, prior=None, prior_state=None)}
  return models if found.prior is None else models | {'gpt': found}


def _of_workdir(path: Path) -> dict[str, published.Published]:
  experiment, counters = workdir.read_experiment(path), _counters(path / COUNTERS)
  steps = experiment.vqvae_training.steps
  found = dataclasses.replace(_of_tokenizer(load_vqvae(path)), counters=counters, step=steps)
  if not workdir.checkpoints_of(path, 'prior').is_dir():
    return {'vqvae': found}
  gpt = dataclasses.replace(found, step=experiment.prior_training.steps)
  return {'vqvae': found, 'gpt': _with_prior(gpt, load_videogpt(path))}


def _of_tokenizer(tokenizer: Tokenizer) -> published.Published:
  spec = tokenizer.spec
  return published.Published(
    tokenizer.config, tokenizer.state, spec.sequence_length, spec.resolution
  )


def _with_prior(vqvae: published.Published, model: VideoGPT) -> published.Published:
  return dataclasses.replace(vqvae, prior=model.config, prior_state=model.prior.state)


def _counters(file: Path) -> dict[str, int]:
  found = read_json(file, {})
  return {name: typed.read(n, int, f'{file}: {name}') for name, n in found.items()}
