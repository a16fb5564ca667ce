"""The one training loop: data, state, restore, step, log, evaluate, save."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.clock import Clock, batches
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.distributed import PreemptedError
from videogpt_jax.training.interfaces import Data, Log
from videogpt_jax.training.milestones import CutShortError, Milestones
from videogpt_jax.training.numbers import LAG, DivergedError, NotFiniteError, Skips, slowed
from videogpt_jax.training.paths import name_of
from videogpt_jax.training.profiling import Profiler
from videogpt_jax.training.sharding import BATCH, on_mesh, shard, shard_batch, shardings
from videogpt_jax.training.signals import Signals
from videogpt_jax.training.step import Stage, TrainState, init_state, make_train_step
from videogpt_jax.training.watch import Watch


def fit(
  stage: Stage,
  config: TrainingConfig,
  data: Data,
  mesh: Mesh,
  checkpoints: Checkpoints,
  log: Log,
  seed: int = 0,
  best: Checkpoints | None = None,
  watch: Watch | None = None,
  profiler: Profiler | None = None,
) -> TrainState:
  """Trains `stage` to the last step, resuming from the newest checkpoint if there is one.

  At each evaluation `best`, if given, takes the state if its held-out loss is lower than before.
  `watch`, if given, reports steps that take too long, and `profiler` traces some.

  An interrupted run ends in the same state as an uninterrupted one: a step's batch and randomness
  depend on the seed and the step alone. When numbers are not finite, see `TrainingConfig`.

  Raises:
    PreemptedError: a signal came; the state is saved.
    UserError: a newer version of this package wrote the checkpoint.
    DivergedError: the numbers stay not finite.
  """
  key, ended = jax.random.key(seed), False
  with (
    Signals(saves=True) as signals,  # already while compiling, which may take minutes
    Clock(log.reached) as clock,
    contextlib.ExitStack() as at_the_end,
    profiler or Profiler() as profiler,
    watch.training(stage.name, clock) if watch else contextlib.nullcontext(),
  ):
    at_the_end.callback(lambda: log.times(clock.reached, clock.take(), ended))
    milestones = Milestones(stage, config, data, mesh, checkpoints, log, clock, signals, best)
    for returns in itertools.count(1):
      try:
        state = _train(milestones, key, signals, profiler)
        ended = True
        return state
      except NotFiniteError as reason:
        _go_back(stage, config, mesh, checkpoints, key)
        good = checkpoints.newest()
        if returns > config.max_returns:
          raise DivergedError(
            f'{stage.name}: {reason}, after going back {config.max_returns} times; the good '
            f'checkpoint is {good}; check the data (--debug_nans finds the operation) or give the '
            'same command with a smaller learning_rate, which goes on from there'
          ) from None
        checkpoints.rate_scale *= config.slow_down
        log.warning(
          f'{stage.name}: {reason}; going back to {good} with {checkpoints.rate_scale:g} times the '
          'learning rate'
        )


def _train(
  milestones: Milestones, key: jax.Array, signals: Signals, profiler: Profiler
) -> TrainState:
  """Trains from the newest checkpoint to the last step (NotFiniteError: it has to go back)."""
  stage, config, log = milestones.stage, milestones.config, milestones.log
  mesh, frozen = milestones.mesh, milestones.frozen
  clock = milestones.clock
  with clock.during('saving'):
    state, step_fn = prepare(stage, config, mesh, milestones.checkpoints, key)
  skips, first = Skips(), int(state.step)
  if first == config.steps and not milestones.checkpoints.is_scored(first):
    # The model is used as it was given, or a signal came in the last evaluation.
    try:
      milestones.evaluate(state, first, None)
    except CutShortError:
      raise PreemptedError(first, signals.number) from None
    milestones.save_last(state, first)
  profiler.resumed(first)
  given = (shard_batch(batch, mesh) for batch in milestones.data.train(first))
  for step, batch in zip(range(first + 1, config.steps + 1), batches(clock, given), strict=False):
    if profiler.starts(step):
      with clock.during('saving'):
        profiler.start(state)
    clock.of_step(step)
    with jax.profiler.StepTraceAnnotation('train', step_num=step):
      state, metrics = step_fn(state, frozen, batch, key)
    if profiler.ends(step):
      with clock.during('saving'):
        profiler.end(state)
    last, preempted = step == config.steps, signals.arrived()
    evaluates = (last or step % config.evaluate_every == 0) and not preempted
    saves = step % config.checkpoint_every == 0 or last or preempted
    logs = step % config.log_every == 0 or last or step == first + 1
    skips.add(step, metrics.pop('skipped'))
    for skipped in skips.read(lag=0 if logs or evaluates or saves else LAG):
      log.warning(f'{stage.name}: step {skipped} is skipped, its loss or gradient is not finite')
    if logs:
      told = {name: float(value) for name, value in metrics.items()}
      log.progress(step, told | {'skipped_steps': skips.total})
      log.times(step, clock.take())
    if skips.in_a_row >= config.max_skipped:
      raise NotFiniteError(f'{skips.in_a_row} steps in a row up to step {step} are not finite')
    saves = last or preempted or (saves and not skips.in_a_row)  # else it would hide a good one
    try:
      if evaluates:
        every_clip = last or config.evaluate_batches == -1
        milestones.evaluate(state, step, None if every_clip else config.evaluate_batches)
      elif saves and not preempted:
        milestones.check(state, step)
    except CutShortError:
      preempted = True
    if last or preempted:
      milestones.save_last(state, step, good=not preempted)
    elif saves:
      milestones.save(state)
    if preempted:
      raise PreemptedError(step, signals.number)
  return state


def _go_back(
  stage: Stage,
  config: TrainingConfig,
  mesh: Mesh,
  checkpoints: Checkpoints,
  key: jax.Array,
):
  """Makes the last good checkpoint the newest; without any, it is the state before training."""
  checkpoints.forget_after_good()
  if checkpoints.latest_step() is None:
    state, _ = prepare(stage, config, mesh, checkpoints, key)
    checkpoints.save(state)
  checkpoints.settle()


def prepare(
  stage: Stage, config: TrainingConfig, mesh: Mesh, checkpoints: Checkpoints, key: jax.Array
) -> tuple[TrainState, Callable]:
  """Returns the first state or the restored one, sharded, and the train step under `jit`."""
  slow_stage, slow = slowed(stage, config.optimizer, checkpoints.rate_scale)
  like, step_fn = on_devices(slow_stage, dataclasses.replace(config, optimizer=slow), mesh)
  if checkpoints.latest_step() is not None:
    return checkpoints.restore(like), step_fn
  init = functools.partial(init_state, stage, config.optimizer, config.steps)
  where = jax.tree.map(lambda a: a.sharding, like)
  return _with_given(jax.jit(init, out_shardings=where)(key), stage.given), step_fn


def _with_given(state: TrainState, given: Mapping[str, jax.Array]) -> TrainState:
  """Returns a first state with these arrays, by name, in place of its own."""
  if not given:
    return state

  def one(path, x):
    if (new := given.get(name_of(path))) is None:
      return x
    return jnp.copy(shard(new.astype(x.dtype), x.sharding))  # steps donate what they are given

  put = functools.partial(jax.tree_util.tree_map_with_path, one)
  params, variables, *averages = map(
    put, (state.params, state.variables, state.ema_params, state.ema_variables)
  )
  return TrainState(state.step, params, variables, state.opt_state, *averages)


def on_devices(stage: Stage, config: TrainingConfig, mesh: Mesh) -> tuple[TrainState, Callable]:
  """Returns what a run compiles: its state's shapes with shardings, and the train step.

  Nothing is computed, so the devices may be mere descriptions (planning/).
  """
  init = functools.partial(init_state, stage, config.optimizer, config.steps)
  abstract = jax.eval_shape(init, jax.random.key(0))
  where = shardings(abstract, mesh)
  replicated = NamedSharding(mesh, P())
  step_fn = jax.jit(
    on_mesh(make_train_step(stage, config.optimizer, config.steps, config.grad_accum_steps), mesh),
    in_shardings=(where, replicated, NamedSharding(mesh, BATCH), replicated),
    out_shardings=(where, replicated),
    # To find an operation, --debug_nans runs the step again.
    donate_argnums=() if jax.config.jax_debug_nans else 0,
  )
  like = jax.tree.map(
    lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, where
  )
  return like, step_fn
