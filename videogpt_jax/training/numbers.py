"""Losses that are no numbers: steps that are skipped, and when training has to go back."""

import collections
import dataclasses
import math
from collections.abc import Mapping

import jax

from videogpt_jax.errors import UserError
from videogpt_jax.training import optimizer as optim
from videogpt_jax.training.step import Stage

LAG = 2
"""Steps that the host stays behind the device in reading flags, so that neither waits."""


class NotFiniteError(Exception):
  """Training has to go back: too many steps were skipped, or an evaluation was not finite."""


class DivergedError(UserError):
  """Going back did not help; the message names the good checkpoint."""


class Skips:
  """Counts the steps that were skipped.

  Attributes:
    total: of this training.
    in_a_row: up to the last step that was read.
  """

  def __init__(self):
    self.total = self.in_a_row = 0
    self._unread: collections.deque[tuple[int, jax.Array]] = collections.deque()

  def add(self, step: int, skipped: jax.Array):
    """Takes the flag of a step, which the device may not have finished."""
    self._unread.append((step, skipped))

  def read(self, lag: int = LAG) -> list[int]:
    """Counts all flags but the newest `lag`, and returns the steps that were skipped."""
    found = []
    while len(self._unread) > lag:
      step, skipped = self._unread.popleft()
      if bool(skipped):
        found.append(step)
        self.total, self.in_a_row = self.total + 1, self.in_a_row + 1
      else:
        self.in_a_row = 0
    return found


def all_finite(scores: Mapping[str, float]) -> bool:
  """Whether every score of an evaluation is a number."""
  return all(math.isfinite(value) for value in scores.values())


def slowed(
  stage: Stage, config: optim.OptimizerConfig, scale: float
) -> tuple[Stage, optim.OptimizerConfig]:
  """Returns the stage and the section's optimiser with all learning rates times `scale`."""
  slow = lambda c: c and dataclasses.replace(c, learning_rate=c.learning_rate * scale)
  updates = (dataclasses.replace(u, optimizer=slow(u.optimizer)) for u in stage.updates)
  return dataclasses.replace(stage, updates=tuple(updates)), slow(config)
