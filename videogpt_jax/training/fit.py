"""The one training loop: data, state, restore, step, log, evaluate, save."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.distributed import PreemptedError, PreemptionNotice
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import BATCH, on_mesh, place, shard_batch, shardings
from videogpt_jax.training.step import (
  Stage,
  TrainState,
  init_state,
  make_evaluate_step,
  make_show_step,
  make_train_step,
)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How long a stage trains, on how much, and how often it reports.

  Attributes:
    steps: optimiser steps in all.
    batch_size: clips a step, over all hosts.
    grad_accum_steps: micro-batches that a step's batch is cut into, to be gone through one after
      the other, for want of memory; see `step.make_gradients`.
    optimizer: see OptimizerConfig.
    log_every, evaluate_every, checkpoint_every: in steps.
    evaluate_batches: held-out batches looked at during training; -1 is all of them.
  """

  steps: int = 100_000
  batch_size: int = 32
  grad_accum_steps: int = 1
  optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
  log_every: int = 50
  evaluate_every: int = 2_000
  evaluate_batches: int = 16
  checkpoint_every: int = 2_000

  def __post_init__(self):
    counts = ('steps', 'batch_size', 'grad_accum_steps')
    for name in (*counts, 'log_every', 'evaluate_every', 'checkpoint_every'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} ({getattr(self, name)}) must be at least 1')


class Log(Protocol):
  """Who is told how training goes (training/logging.py in a run, a list in a test)."""

  def progress(self, step: int, metrics: Mapping[str, float]): ...

  def scores(self, step: int, metrics: Mapping[str, float]): ...

  def videos(self, step: int, videos: Mapping[str, np.ndarray]): ...


@dataclasses.dataclass(frozen=True)
class Data:
  """The batches of a run, this host's share of them.

  Attributes:
    train: from a step on, endlessly.
    test: every held-out clip once, padded, with `mask`.
  """

  train: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
  test: Callable[[], Iterable[Mapping[str, np.ndarray]]]


def fit(
  stage: Stage,
  config: TrainingConfig,
  data: Data,
  mesh: Mesh,
  checkpoints: Checkpoints,
  log: Log,
  seed: int = 0,
) -> TrainState:
  """Trains `stage` to the end, from the newest checkpoint if there is one.

  A run that was interrupted ends in the same state as one that was not: batch and randomness of a
  step depend on the seed and the step alone.

  Raises:
    PreemptedError: the machine is about to be taken away; the state is saved.
  """
  with PreemptionNotice() as notice:  # to compile takes minutes, too
    key = jax.random.key(seed)
    state, step_fn = prepare(stage, config, mesh, checkpoints, key)
    replicated = NamedSharding(mesh, P())
    frozen = place(stage.frozen, replicated)
    # What is looked at on the host has to be whole on every host.
    evaluate_step = jax.jit(on_mesh(make_evaluate_step(stage), mesh), out_shardings=replicated)
    show = jax.jit(on_mesh(make_show_step(stage), mesh), out_shardings=replicated)

    first = int(state.step)
    batches = (shard_batch(batch, mesh) for batch in data.train(first))
    for step, batch in zip(range(first + 1, config.steps + 1), batches, strict=False):
      state, metrics = step_fn(state, frozen, batch, key)
      last, preempted = step == config.steps, notice.arrived()
      if step % config.log_every == 0 or last or step == first + 1:
        log.progress(step, {name: float(value) for name, value in metrics.items()})
      if last or (step % config.evaluate_every == 0 and not preempted):
        held_out = itertools.islice(data.test(), None if last else config.evaluate_batches)
        scores, example = evaluate(stage, evaluate_step, state.model, frozen, held_out, mesh)
        log.scores(step, scores)
        log.videos(step, {k: np.asarray(v) for k, v in show(state.model, frozen, example).items()})
      if step % config.checkpoint_every == 0 or last or preempted:
        checkpoints.save(state)
      if preempted:
        raise PreemptedError(step)
  return state


def prepare(
  stage: Stage, config: TrainingConfig, mesh: Mesh, checkpoints: Checkpoints, key: jax.Array
) -> tuple[TrainState, Callable]:
  """Returns the state to go on from, placed on the mesh, and the train step, to be compiled."""
  like, step_fn = on_devices(stage, config, mesh)
  if checkpoints.latest_step() is not None:
    return checkpoints.restore(like), step_fn
  init = functools.partial(init_state, stage, config.optimizer, config.steps)
  places = jax.tree.map(lambda a: a.sharding, like)
  return jax.jit(init, out_shardings=places)(key), step_fn


def on_devices(stage: Stage, config: TrainingConfig, mesh: Mesh) -> tuple[TrainState, Callable]:
  """Returns what a run compiles: the shapes of its state, placed on the mesh, and the train step.

  Nothing is computed, so that the devices may be ones that are only described (planning/).
  """
  init = functools.partial(init_state, stage, config.optimizer, config.steps)
  abstract = jax.eval_shape(init, jax.random.key(0))
  places = shardings(abstract, mesh)
  replicated = NamedSharding(mesh, P())
  step_fn = jax.jit(
    on_mesh(make_train_step(stage, config.optimizer, config.steps, config.grad_accum_steps), mesh),
    in_shardings=(places, replicated, NamedSharding(mesh, BATCH), replicated),
    out_shardings=(places, replicated),
    donate_argnums=0,
  )
  like = jax.tree.map(
    lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, places
  )
  return like, step_fn


def evaluate(
  stage: Stage, evaluate_step: Callable, model: Any, frozen: Any, batches: Iterable, mesh: Mesh
) -> tuple[dict[str, float], dict[str, jax.Array]]:
  """Scores the model on held-out batches; returns the scores and the first batch, to be shown."""
  total, count, first = None, 0.0, None
  for batch in batches:
    batch = shard_batch(batch, mesh)
    first = batch if first is None else first
    sums, n = jax.device_get(evaluate_step(model, frozen, batch))
    sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
    total = sums if total is None else {name: total[name] + sums[name] for name in sums}
    count += float(n)
  return stage.summarise({name: value / count for name, value in total.items()}), first
