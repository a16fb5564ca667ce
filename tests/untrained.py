"""Workdirs of models that nobody has trained: for tests of what is done with models."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from tests import tiny_config
from videogpt_jax import exchange
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.interop.published import Published
from videogpt_jax.tokenizer import abstract_tokenizer
from videogpt_jax.training.paths import name_of
from videogpt_jax.videogpt import VideoGPT, abstract_prior


def experiment(dataset: DatasetConfig | None = None, **prior) -> Experiment:
  """The tiny experiment, perhaps on other data and with another prior."""
  tiny = from_dict(tiny_config.get_config())
  return dataclasses.replace(
    tiny, dataset=dataset or tiny.dataset, prior=dataclasses.replace(tiny.prior, **prior)
  )


def make_model(of: Experiment, **fields) -> VideoGPT:
  """Returns an experiment's models as a value, with arrays drawn by NumPy: nothing is compiled."""
  size, rng = (of.dataset.sequence_length, of.dataset.resolution), np.random.default_rng(0)

  def draw(path, leaf):
    values = rng.uniform(0.01, 0.1, leaf.shape)
    signs = rng.choice([-1, 1], leaf.shape) if name_of(path).endswith('kernel') else 1
    return jnp.asarray(values * signs, leaf.dtype)  # variances and counts are positive

  parts = abstract_tokenizer(of.vqvae, *size), abstract_prior(of.prior, of.codes)
  filled = [
    dataclasses.replace(part, state=jax.tree_util.tree_map_with_path(draw, part.state))
    for part in parts
  ]
  return VideoGPT(*filled, of.prior, **fields)


def make_workdir(path: pathlib.Path, of: Experiment, with_prior: bool = True) -> pathlib.Path:
  """Writes the workdir of an experiment whose models are drawn at random."""
  model, size = make_model(of), (of.dataset.sequence_length, of.dataset.resolution)
  found = Published(of.vqvae, model.vqvae.state, *size)
  if with_prior:
    found = dataclasses.replace(found, prior=of.prior, prior_state=model.prior.state)
  exchange.import_to_workdir(epath.Path(path), found, of)
  return path
