"""A stage with two updates, made up: a generator and a discriminator of points in space."""

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.step import Stage, Update


class Pair(nnx.Module):
  """Moves points, and tells moved ones from given ones; `total` sums up what it has been shown."""

  def __init__(self, rngs):
    self.generator = nnx.Linear(3, 3, rngs=rngs)
    self.discriminator = nnx.Linear(3, 1, rngs=rngs)
    self.total = nnx.BatchStat(jnp.zeros(3))
    self.calls = nnx.BatchStat(jnp.zeros((), jnp.int32))

  def judge(self, points):
    return self.discriminator(jnp.tanh(points))[:, 0]


def points_of(batch):
  return batch['video'].mean(axis=(1, 2, 3)) * 10


def generator_loss(model, frozen, batch, key):
  moved = model.generator(-points_of(batch))
  return jax.nn.softplus(-model.judge(moved)).mean(), {'draw': jax.random.uniform(key)}


def discriminator_loss(model, frozen, batch, key):
  given, moved = points_of(batch), model.generator(-points_of(batch))
  model.total[...] += given.sum(axis=0)
  model.calls[...] += 1
  loss = jax.nn.softplus(model.judge(moved)) + jax.nn.softplus(-model.judge(given))
  return loss.mean(), {'draw': jax.random.uniform(key)}


GENERATOR = Update('generator', generator_loss, nnx.PathContains('generator'))
DISCRIMINATOR = Update(
  'discriminator',
  discriminator_loss,
  nnx.PathContains('discriminator'),
  OptimizerConfig(learning_rate=0.05, schedule='constant', clip_norm=0.0, b1=0.5),
)


def make_stage(*updates):
  return Stage(
    name='pair',
    create=lambda rngs: Pair(rngs),
    updates=updates or (GENERATOR, DISCRIMINATOR),
    evaluate=lambda model, frozen, batch: {'judged': model.judge(points_of(batch))},
    summarise=lambda means, n: {'judged': float(means['judged'])},
    show=lambda model, frozen, batch: {'clips': batch['video'][:2]},
  )
