"""How two experiments differ, and which differences the checkpoints of a workdir allow."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from videogpt_jax.config import Experiment
from videogpt_jax.training.optimizer import learning_rate_schedule

_OF_VQVAE = ('seed', 'dataset', 'vqvae', 'vqvae_loss', 'vqvae_training')

SHAPES_CHECKPOINTS = {
  'vqvae': _OF_VQVAE,
  'prior': (*_OF_VQVAE, 'prior', 'prior_training', 'prior_codes', 'prior_crops'),
}
"""Sections that a stage's checkpoints depend on, and that must therefore not change."""

NOT_LEARNT = (
  *('log_every', 'evaluate_every', 'evaluate_batches', 'checkpoint_every'),
  *('keep', 'max_skipped', 'max_returns', 'slow_down'),
  *('attn_backend', 'remat'),
)
"""Keys of a training section, and of a prior, that do not change what is learnt."""


SAME_MODEL = (
  'dtype',
  'remat',
  'attn_backend',
  'dropout',
  'attn_dropout',
  'cond_dropout',
  'history',
)
"""Keys of a model that do not change what its arrays mean."""


class Change(NamedTuple):
  """A key, such as 'prior_training.optimizer.b2', and its two values."""

  key: str
  old: Any
  new: Any

  def __str__(self) -> str:
    return f'{self.key} is {self.old!r} there and {self.new!r} here'


def changes(old: Any, new: Any, key: str = '') -> Iterator[Change]:
  """Yields every difference between two experiments, or between two sections of this key."""
  if not dataclasses.is_dataclass(old):
    if old != new:
      yield Change(key, old, new)
    return
  for field in dataclasses.fields(old):
    pair = getattr(old, field.name), getattr(new, field.name)
    yield from changes(*pair, f'{key}.{field.name}' if key else field.name)


def learnt(change: Change, stage: str) -> bool:
  """Whether a change would change what a stage learns."""
  path = change.key.split('.')
  return path[0] in SHAPES_CHECKPOINTS[stage] and path[-1] not in NOT_LEARNT


def raises_steps(change: Change, stage: str) -> bool:
  """Whether a change only trains a stage for longer."""
  return change.key == f'{stage}_training.steps' and change.new > change.old


def lowers_rate(change: Change, stage: str) -> bool:
  """Whether a change only lowers a stage's learning rate."""
  return change.key == f'{stage}_training.optimizer.learning_rate' and change.new < change.old


def of_more_steps(old: Experiment, new: Experiment, stage: str, done: int) -> str:
  """Returns what more steps of a stage mean for its learning rate, as a line.

  Args:
    old, new: before and after `steps` was raised.
    stage: 'vqvae' or 'prior'.
    done: steps of the newest checkpoint.
  """
  before, after = (getattr(experiment, f'{stage}_training') for experiment in (old, new))
  rates = [float(learning_rate_schedule(t.optimizer, t.steps)(done)) for t in (before, after)]
  line = f'{stage}: {after.steps} steps instead of {before.steps}, {done} of them done; '
  if after.optimizer.schedule == 'constant':
    return line + f'it ends as a run of {after.steps} steps from the beginning does'
  return line + (
    f'the {after.optimizer.schedule} schedule now ends at step {after.steps}, so the learning rate '
    f'goes from {rates[0]:.3g} up to {rates[1]:.3g}; a run of {after.steps} steps from the '
    'beginning ends otherwise'
  )
