"""What happens after some of a stage's steps: evaluation, the best model, checkpoints."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax.errors import UserError
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.clock import Clock
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.interfaces import Data, Log
from videogpt_jax.training.numbers import NotFiniteError, all_finite
from videogpt_jax.training.sharding import on_mesh, shard, shard_batch
from videogpt_jax.training.signals import Signals
from videogpt_jax.training.step import Stage, TrainState, make_evaluate_step, make_show_step


class CutShortError(Exception):
  """A signal came during an evaluation."""


class Milestones:
  """Evaluates and saves the state of a stage.

  Attributes:
    frozen: what the stage reads and does not train, on all devices.
  """

  def __init__(
    self,
    stage: Stage,
    config: TrainingConfig,
    data: Data,
    mesh: Mesh,
    checkpoints: Checkpoints,
    log: Log,
    clock: Clock,
    signals: Signals,
    best: Checkpoints | None = None,
  ):
    self.stage, self.config, self.data, self.mesh = stage, config, data, mesh
    self.checkpoints, self.log, self.clock, self.best = checkpoints, log, clock, best
    self._signals = signals
    replicated = NamedSharding(mesh, P())
    self.frozen = shard(stage.frozen, replicated)
    # Hosts read whole arrays, so scores and videos are replicated.
    self._score = jax.jit(on_mesh(make_evaluate_step(stage), mesh), out_shardings=replicated)
    self._show = jax.jit(on_mesh(make_show_step(stage), mesh), out_shardings=replicated)

  def evaluate(self, state: TrainState, step: int, n_batches: int | None):
    """Scores held-out clips, tells of it, and keeps the state if it is the best.

    Raises:
      NotFiniteError: a score is not finite.
      CutShortError: the process is to stop.
    """
    with self.clock.during('evaluation'):
      scores, example = self._scores(state, n_batches)
    self.log.scores(step, scores)
    self._check(scores, step)
    if self.best is not None and scores[self.stage.held_out_loss] < self.best.loss:
      with self.clock.during('saving'):
        self.best.save(state, scores[self.stage.held_out_loss])
    with self.clock.during('evaluation'):
      videos = self._show(state.model, self.frozen, example)
      self.log.videos(step, {name: np.asarray(video) for name, video in videos.items()})

  def check(self, state: TrainState, step: int):
    """Scores one batch: a checkpoint is good only if its evaluation is finite (NotFiniteError)."""
    with self.clock.during('evaluation'):
      scores, _ = self._scores(state, 1)
    self._check(scores, step)

  def save(self, state: TrainState, good: bool = True):
    """Writes a checkpoint in the background."""
    with self.clock.during('saving'):
      self.checkpoints.save(state, good=good)

  def save_last(self, state: TrainState, step: int, good: bool = True):
    """Writes a checkpoint that none follows, at the second attempt if the first one fails.

    Raises:
      UserError: it could not be written.
    """
    with self.clock.during('saving'):
      for _ in range(2):
        self.checkpoints.save(state, good=good)
        if self.checkpoints.settle() and self.checkpoints.latest_step() == step:
          return
    raise UserError(
      f'{self.stage.name}: step {step} could not be saved; the last good checkpoint is '
      f'{self.checkpoints.newest()}; mend the disk, then the same command goes on from there'
    )

  def _scores(self, state: TrainState, n_batches: int | None):
    held_out = self._until_a_signal(itertools.islice(self.data.test(), n_batches))
    return evaluate(self.stage, self._score, state.model, self.frozen, held_out, self.mesh)

  def _until_a_signal(self, held_out: Iterable) -> Iterator:
    for batch in held_out:
      if self._signals.arrived():
        raise CutShortError
      yield batch

  def _check(self, scores: dict[str, float], step: int):
    if not all_finite(scores):
      raise NotFiniteError(f'the evaluation after step {step} is not finite')


def evaluate(
  stage: Stage, evaluate_step: Callable, model: Any, frozen: Any, batches: Iterable, mesh: Mesh
) -> tuple[dict[str, float], dict[str, jax.Array]]:
  """Scores the model on held-out batches; returns the scores, and the first batch for videos."""
  total, count, first = None, 0.0, None
  for batch in batches:
    batch = shard_batch(batch, mesh)
    first = batch if first is None else first
    sums, n = jax.device_get(evaluate_step(model, frozen, batch))
    sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
    total = sums if total is None else {name: total[name] + sums[name] for name in sums}
    count += float(n)
  means = {name: value / count for name, value in total.items()}
  return stage.summarise(means, round(count)), first
