"""Workdirs of models that nobody has trained: for tests of what is done with models."""

import dataclasses
import pathlib

from etils import epath
from flax import nnx

from tests import tiny_config
from videogpt_jax import exchange
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.interop.published import Published
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import trained
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.videogpt import VideoGPT


def experiment(dataset: DatasetConfig | None = None, **prior) -> Experiment:
  """The tiny experiment, perhaps on other data and with another prior."""
  tiny = from_dict(tiny_config.get_config())
  return dataclasses.replace(
    tiny, dataset=dataset or tiny.dataset, prior=dataclasses.replace(tiny.prior, **prior)
  )


def make_model(of: Experiment, **fields) -> VideoGPT:
  """Returns an experiment's models as a value, drawn at random."""
  draw = nnx.jit(  # compiled once, not array by array
    lambda: (VQVAE(of.vqvae, rngs=nnx.Rngs(0)), Prior(of.prior, of.codes, rngs=nnx.Rngs(1)))
  )
  vqvae, prior = draw()
  tokenizer = make_tokenizer(vqvae, of.dataset.sequence_length, of.dataset.resolution)
  return VideoGPT(tokenizer, trained(prior), of.prior, **fields)


def make_workdir(path: pathlib.Path, of: Experiment, with_prior: bool = True) -> pathlib.Path:
  """Writes the workdir of an experiment whose models are drawn at random."""
  model, size = make_model(of), (of.dataset.sequence_length, of.dataset.resolution)
  found = Published(of.vqvae, model.vqvae.state, *size)
  if with_prior:
    found = dataclasses.replace(found, prior=of.prior, prior_state=model.prior.state)
  exchange.import_to_workdir(epath.Path(path), found, of)
  return path
