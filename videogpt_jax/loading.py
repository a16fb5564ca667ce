"""Trained models from a workdir, an export, the hub, a published checkpoint, or by name."""

import dataclasses
import os
from typing import TYPE_CHECKING

from flax import nnx
from jax.sharding import Mesh

from videogpt_jax import shipped
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.models.trained import Trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.readers import Cut
from videogpt_jax.tokenizer import Tokenizer, abstract_tokenizer
from videogpt_jax.videogpt import VideoGPT, abstract_prior

if TYPE_CHECKING:
  from videogpt_jax.starts import Starts

EXPORTED = ('gpt.ckpt', 'gpt.safetensors', 'vqvae.ckpt', 'vqvae.safetensors')
"""Files of `export_torch`; the first stands for its folder, since gpt includes its VQ-VAE."""


def find_model(path: str | os.PathLike) -> os.PathLike:
  """Returns the workdir, which may be in a bucket, or the file of a checkpoint.

  Args:
    path: either of these, the folder of an export, the name of a model that comes with the package,
      the name of a published one, or an address on the hub, hf://OWNER/NAME@REVISION, from which
      the model is downloaded unless that has been done before.
  Returns:
    a folder only if it is a workdir; `model.safetensors` stands for an export.
  Raises:
    UserFileError: it is nothing of the kind.
    UserError: the hub cannot be reached.
  """
  from etils.epath import Path  # which a program without files does not need

  from videogpt_jax import hub, model_folder
  from videogpt_jax.interop import well_known

  folder = hub.pull(path) if hub.is_address(path) else Path(path)
  if not folder.exists() and (own := shipped.model(os.fspath(path))):
    folder = own
  if not folder.is_dir():
    return well_known.find(path)
  if file := model_folder.find(folder):
    return file
  if (folder / 'config.json').exists():
    return folder
  for file in (folder / name for name in EXPORTED):
    if file.exists():
      return file
  raise UserFileError(
    f'the folder {path} is neither a run, which has a config.json, nor an export, which has a '
    f'{model_folder.WEIGHTS} or a vqvae.ckpt; give one of these, or a published checkpoint'
  )


def load_model(path: str | os.PathLike) -> VideoGPT | Tokenizer:
  """Loads what there is: a prior with its tokenizer, or else the tokenizer alone.

  Arguments and errors are those of `load_videogpt`.
  """
  from videogpt_jax import model_folder

  if model_folder.holds(place := find_model(path)):
    return model_folder.load(place)
  if not place.is_dir():
    found = _published(place)
    return _published_tokenizer(found) if found.prior is None else _published_model(found)
  from videogpt_jax import workdir

  return load_videogpt(place) if workdir.has_checkpoints(place, 'prior') else load_vqvae(place)


def load_vqvae(path: str | os.PathLike) -> Tokenizer:
  """Loads a tokenizer.

  Args:
    path: a workdir, an export, a published checkpoint (`.ckpt`, `.pth.tar` or `.safetensors`; a
      prior's includes its VQ-VAE or names its file), a model's name ('doom'), or its address on the
      hub ('hf://OWNER/NAME').
  Raises:
    UserFileError: there is no such file, or no trained VQ-VAE in the workdir.
    UserError: the file is broken, or no VideoGPT checkpoint.
  """
  from videogpt_jax import model_folder

  if model_folder.holds(folder := find_model(path)):
    return model_folder.load(folder, with_prior=False)
  if not folder.is_dir():
    return _published_tokenizer(_published(folder))
  from videogpt_jax import workdir  # Orbax, which a published file does not need

  return _restored(abstract_vqvae(workdir.read_experiment(folder)), folder, 'vqvae')


def load_videogpt(path: str | os.PathLike, mesh: Mesh | None = None) -> VideoGPT:
  """Loads a prior with its tokenizer.

  Args:
    path: as for `load_vqvae`.
    mesh: devices to share the model and its videos. Each of them reads its own part of a workdir's
      prior, so that no device needs to hold all of it; by default one does.
  Raises:
    UserFileError: there is no such file, or no trained prior in the workdir.
    UserError: the file is broken, no VideoGPT checkpoint, or holds only a VQ-VAE.
  """
  folder = find_model(path)
  model = _of_workdir(folder, mesh) if folder.is_dir() else load_model(folder)
  if isinstance(model, Tokenizer):
    raise UserError(f'{path} holds only a VQ-VAE, and this needs a prior; load_vqvae loads it')
  return model if mesh is None else model.on_mesh(mesh)


def _of_workdir(folder, mesh: Mesh | None) -> VideoGPT:
  from videogpt_jax import workdir

  tokenizer, experiment = load_vqvae(folder), workdir.read_experiment(folder)
  # It may have been trained with a kernel that this platform lacks.
  config = dataclasses.replace(experiment.prior, attn_backend='auto')
  prior = _restored(abstract_prior(config, tokenizer.spec), folder, 'prior', mesh)
  data, names = experiment.dataset, [workdir.names(folder, of) for of in ('classes', 'actions')]
  cut = Cut(data.fps, data.frame_skip, data.fit, data.antialias, workdir.frame_rate(folder))
  return VideoGPT(tokenizer, prior, config, *names, cut=cut)


def load_starts(path: str | os.PathLike) -> 'Starts | None':
  """Returns the held-out clips and actions that a model brings to begin with; most bring none.

  Args:
    path: as for `load_vqvae`.
  Raises:
    UserError: as for `load_vqvae`; or its start frames are not the model's.
  """
  from videogpt_jax import model_folder
  from videogpt_jax.starts import read_starts

  if not model_folder.holds(file := find_model(path)):
    return None
  said = model_folder.describe(file)
  prior = said.experiment.prior if said.has_prior else None
  return read_starts(file.with_name(model_folder.STARTS), said.experiment.codes, prior)


def load_shapes(path: str | os.PathLike, stage: str) -> tuple[Trained, VQVAEConfig | PriorConfig]:
  """Returns the shapes of a model's arrays, and its configuration; a workdir's is not read.

  Args:
    path: as for `load_vqvae`.
    stage: 'vqvae' or 'prior'.
  Raises:
    UserError: as for `load_videogpt`.
  """
  if not (folder := find_model(path)).is_dir():
    model = load_vqvae(folder) if stage == 'vqvae' else load_videogpt(folder).prior
    return model, model.module().config
  from videogpt_jax import workdir

  workdir.check_trained(folder, stage)
  experiment = workdir.read_experiment(folder)
  tokenizer = abstract_vqvae(experiment)
  if stage == 'vqvae':
    return tokenizer, experiment.vqvae
  return abstract_prior(experiment.prior, tokenizer.spec), experiment.prior


def abstract_vqvae(experiment) -> Tokenizer:
  """Returns an experiment's tokenizer as shapes."""
  data = experiment.dataset
  return abstract_tokenizer(experiment.vqvae, data.sequence_length, data.resolution)


def _restored(like: Trained, path, stage: str, mesh: Mesh | None = None) -> Trained:
  """Returns a stage's trained network, of these shapes, from a workdir."""
  from videogpt_jax import memory, workdir

  memory.check_fits(f'the {stage} of {path}', like.state)
  params, variables = nnx.split_state(like.state, nnx.Param, ...)
  state = nnx.merge_state(*workdir.restore(path, stage, params, variables, mesh))
  return dataclasses.replace(like, state=state)


def _published(path):
  from videogpt_jax.interop import published

  return published.load(path)


def _published_tokenizer(found) -> Tokenizer:
  like = abstract_tokenizer(found.vqvae, found.sequence_length, found.resolution)
  return dataclasses.replace(like, state=nnx.merge_state(like.state, found.vqvae_state))


def _published_model(found) -> VideoGPT:
  prior = abstract_prior(found.prior, found.codes)
  prior = dataclasses.replace(prior, state=nnx.merge_state(prior.state, found.prior_state))
  return VideoGPT(_published_tokenizer(found), prior, found.prior)
