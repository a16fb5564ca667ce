"""The clips that a run trains on, is scored on, and begins with."""

import functools
from collections.abc import Callable

import numpy as np
from jax.sharding import Mesh

from videogpt_jax.config import Experiment
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.pixels import to_uint8
from videogpt_jax.starts import Starts
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.interfaces import Data
from videogpt_jax.training.sharding import host_share


def of_training(
  experiment: Experiment,
  mesh: Mesh,
  training: TrainingConfig,
  train: DatasetConfig,
  test: DatasetConfig,
) -> Data:
  """Returns this host's share of the batches that a stage trains on and is tested on meanwhile."""
  from videogpt_jax.input import pipeline

  batches = functools.partial(
    pipeline.train_batches, train, batch_size=training.batch_size, seed=experiment.seed
  )
  return Data(
    train=lambda step: batches(start_step=step, **_share(mesh)),
    test=_held_out(mesh, training, test, 'val'),
  )


def to_evaluate(experiment: Experiment, mesh: Mesh) -> Callable:
  """Returns what makes this host's share of the batches of every test clip."""
  return _held_out(mesh, experiment.prior_training, experiment.dataset, 'test')


def first_starts(experiment: Experiment, n: int) -> Starts:
  """Returns the first n test clips, or all if there are fewer, and what conditions its prior.

  Raises:
    UserError: they cannot be read.
  """
  from videogpt_jax.input import pipeline

  batch, prior = pipeline.first_test_clips(experiment.dataset, n), experiment.prior
  return Starts(
    to_uint8(batch['video']),
    np.asarray(batch['actions'], np.float32) if prior.action_dim else None,
    np.asarray(batch['label'], np.int32) if prior.n_classes else None,
  )


def _held_out(mesh: Mesh, training: TrainingConfig, clips: DatasetConfig, split: str) -> Callable:
  from videogpt_jax.input import pipeline

  size = training.batch_size
  return lambda: pipeline.test_batches(clips, batch_size=size, split=split, **_share(mesh))


def _share(mesh: Mesh) -> dict[str, int]:
  index, count = host_share(mesh)
  return {'process_index': index, 'process_count': count}


def of_prior(experiment: Experiment, tokenizer: Tokenizer) -> tuple[DatasetConfig, DatasetConfig]:
  """Returns what a prior trains and is tested on: clips, or codes of this very tokenizer."""
  dataset, path = experiment.dataset, experiment.prior_codes
  if not path:
    return experiment.prior_clips, dataset
  from videogpt_jax.input import contents

  contents.check_tokenizer(
    path, tokenizer_sha256=tokenizer.digest, codebook_sha256=tokenizer.codebook_sha256
  )
  return (dataset.as_codes(path),) * 2
