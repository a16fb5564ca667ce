"""Stages that are small enough to train in a test."""

import dataclasses

import jax
import numpy as np
from flax import nnx

from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.training.interfaces import Data

VQVAE_CONFIG = VQVAEConfig(
  embedding_dim=6, n_codes=11, n_hiddens=8, n_res_layers=1, downsample=(2, 4, 4)
)


PRIOR_CONFIG = PriorConfig(hidden_dim=16, n_heads=2, n_layers=2, n_classes=3)


def make_stage(name, dtype='float32', prior=PRIOR_CONFIG):
  if name == 'vqvae':
    return vqvae_stage(dataclasses.replace(VQVAE_CONFIG, dtype=dtype))
  tokenizer = make_tokenizer(VQVAE(VQVAE_CONFIG, rngs=nnx.Rngs(7)), 4, 8)
  return prior_stage(dataclasses.replace(prior, dtype=dtype), tokenizer)


def batch(seed, size=8):
  draw = np.random.default_rng(seed)
  return {
    'video': draw.uniform(-0.5, 0.5, (size, 4, 8, 8, 3)).astype(np.float32),
    'label': draw.integers(0, 3, size).astype(np.int32),
  }


def data(n_test=13, size=8):
  """Batch n of training depends on n alone; 13 test clips in batches of 8, the last one padded."""

  def train(step):
    while True:
      yield batch(step)
      step += 1

  def test():
    clips = batch(10_000, n_test)
    for first in range(0, n_test, size):
      part = {k: v[first : first + size] for k, v in clips.items()}
      n = len(part['video'])
      padded = {k: np.concatenate([v, v[:1].repeat(size - n, 0)]) for k, v in part.items()}
      yield padded | {'mask': (np.arange(size) < n).astype(np.float32)}

  return Data(train, test)


class ListLog:
  """Keeps what it is told; of the losses, the one of this name."""

  def __init__(self, loss='loss'):
    self.loss, self.losses, self.scored, self.shown = loss, {}, {}, {}
    self.warnings, self.reached, self.seconds, self.ended = [], 0, {}, False

  def progress(self, step, metrics):
    self.losses[step] = metrics[self.loss]

  def scores(self, step, metrics):
    self.scored[step] = metrics

  def times(self, step, seconds, ended=False):
    self.seconds = {part: self.seconds.get(part, 0) + n for part, n in seconds.items()}
    self.ended = ended

  def videos(self, step, videos):
    self.shown[step] = videos

  def warning(self, line):
    self.warnings.append(line)


class StoppedError(Exception):
  pass


class Stop(ListLog):
  """Breaks off at a step."""

  def __init__(self, step, loss='loss'):
    super().__init__(loss)
    self.step = step

  def progress(self, step, metrics):
    if step == self.step:
      raise StoppedError
    super().progress(step, metrics)


def parameters(stage, key=3):
  """Parameters and variables none of which is zero, as no gradient then vanishes by itself."""
  _, params, variables = nnx.split(stage.create(nnx.Rngs(key)), nnx.Param, ...)
  flat, treedef = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(key), len(flat))
  flat = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(flat, keys, strict=True)]
  return jax.tree.unflatten(treedef, flat), variables


def leaves(tree):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
