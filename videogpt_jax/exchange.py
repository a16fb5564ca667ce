"""A workdir made of a published checkpoint, and published checkpoints of a workdir."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax import workdir
from videogpt_jax.config import Experiment
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.interop import published
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.fit import TrainingConfig
from videogpt_jax.training.logging import read_json, write_json
from videogpt_jax.training.optimizer import make_optimizer
from videogpt_jax.training.step import TrainState

COUNTERS = 'batch_norm_steps.json'
"""File of a workdir with what only an export needs: the steps each batch norm has counted."""

FREE = ('dtype', 'remat', 'dropout', 'attn_dropout')
"""Keys of how a model is run or trained: a configuration may differ in these from a file."""


def stated_experiment(found: published.Published, name: str) -> Experiment:
  """Returns the experiment that a file states; its data set, which it does not, is noise."""
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
  """Refuses an experiment whose models are not those of the file (ValueError)."""
  stated = stated_experiment(found, experiment.name)
  keys = {'dataset': ['sequence_length', 'resolution']}
  for section in ('vqvae', 'prior') if found.prior else ('vqvae',):
    fields = dataclasses.fields(getattr(stated, section))
    keys[section] = [field.name for field in fields if field.name not in FREE]
  for section, names in keys.items():
    for name in names:
      theirs = getattr(getattr(stated, section), name)
      ours = getattr(getattr(experiment, section), name)
      if theirs != ours:
        raise ValueError(
          f'{section}.{name} is {theirs!r} in the checkpoint and {ours!r} in the configuration; '
          f'add --config.{section}.{name}={theirs}'
        )


def import_to_workdir(path: Path, found: published.Published, experiment: Experiment):
  """Makes `path` the workdir of an experiment whose stages have ended with these models.

  Raises:
    ValueError: there is something already, or the experiment's models are others.
  """
  check_same(found, experiment)
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise ValueError(f'workdir {path} is not empty; choose an empty or new folder')
  workdir.claim(path, experiment)
  models = {'vqvae': (found.vqvae_state, experiment.vqvae_training)}
  if found.prior is not None:
    models['prior'] = (found.prior_state, experiment.prior_training)
  for stage, (state, training) in models.items():
    with Checkpoints(workdir.checkpoints_of(path, stage)) as checkpoints:
      checkpoints.save(_as_trained(state, training))
  write_json(path / COUNTERS, dict(found.counters))


def _as_trained(state: nnx.State, training: TrainingConfig) -> TrainState:
  """The state at the end of a training, its optimiser fresh."""
  params, variables = nnx.split_state(state, nnx.Param, ...)
  optimizer = make_optimizer(training.optimizer, training.steps)
  return TrainState(
    step=jnp.asarray(training.steps, jnp.int32),
    params=params,
    variables=variables,
    opt_state=optimizer.init(params),
    ema_params=jax.tree.map(jnp.copy, params) if training.optimizer.ema_decay else None,
  )


def export_workdir(path: Path, out: Path, vqvae_path: str | None = None) -> list[Path]:
  """Writes vqvae.ckpt and .safetensors, and gpt.* if the workdir has a prior, into `out`.

  Args:
    path: the workdir.
    out: made if it is not there.
    vqvae_path: what the prior's file says of where its VQ-VAE's is; by default in `out`.
  Returns:
    the files.
  Raises:
    FileNotFoundError: `path` is no workdir, or holds no trained VQ-VAE.
    ValueError: the published code has no such model; nothing is written then.
  """
  models = {'vqvae': _trained_vqvae(path)}
  if workdir.checkpoints_of(path, 'prior').is_dir():
    models['gpt'] = _with_prior(models['vqvae'], path)
  vqvae_path = vqvae_path or str(out / 'vqvae.ckpt')
  trees = {name: published.to_checkpoint(model, vqvae_path) for name, model in models.items()}
  out.mkdir(parents=True, exist_ok=True)
  files = [out / f'{name}.{kind}' for name in trees for kind in ('ckpt', 'safetensors')]
  for file in files:
    published.write(file, trees[file.stem])
  return files


def _trained_vqvae(path: Path) -> published.Published:
  tokenizer, experiment = workdir.load_tokenizer(path), workdir.read_experiment(path)
  return published.Published(
    tokenizer.config,
    tokenizer.state,
    tokenizer.sequence_length,
    tokenizer.resolution,
    counters=read_json(path / COUNTERS, {}),
    step=experiment.vqvae_training.steps,
  )


def _with_prior(vqvae: published.Published, path: Path) -> published.Published:
  gpt, experiment = workdir.load_videogpt(path), workdir.read_experiment(path)
  return dataclasses.replace(
    vqvae, prior=gpt.config, prior_state=gpt.state, step=experiment.prior_training.steps
  )
