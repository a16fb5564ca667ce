"""What a stage supplies, and the train step and evaluation step made of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.placement import constrain
from videogpt_jax.pixels import to_model_range
from videogpt_jax.training import optimizer as optim

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything that a training step changes.

  Attributes:
    step: int32 scalar, number of completed steps.
    params: parameters that gradients move (nnx.Param).
    variables: arrays that the model updates itself: batch statistics, codebook.
    opt_state: optimiser state of each update, by its name.
    ema_params: averaged parameters, or None.
    ema_variables: variables that belong to `ema_params`, or None: averaged batch statistics, and
      the newest of all else. A codebook is a moving average already, and jumps where codes restart.
  """

  step: jax.Array
  params: nnx.State
  variables: nnx.State
  opt_state: dict[str, Any]
  ema_params: nnx.State | None = None
  ema_variables: nnx.State | None = None

  @property
  def model(self) -> tuple[nnx.State, nnx.State]:
    """Parameters and variables to evaluate, sample and export with: averaged ones if kept."""
    if self.ema_params is None:
      return self.params, self.variables
    return self.ema_params, self.ema_variables


@dataclasses.dataclass(frozen=True)
class Update:
  """One optimiser of a stage: what it minimises, and which parameters it moves.

  Attributes:
    name: key of its optimiser state; prefix of its metrics if the stage has several updates.
    loss: (model, frozen, batch, key) -> scalar loss and scalar metrics. It may update the model's
      own variables.
    params: nnx filter that selects its parameters; all by default.
    optimizer: how they move; None takes the training section's. Averages are always those of the
      training section, over the whole model.
    first_step: number of steps in which it rests.
  """

  name: str
  loss: Callable[[nnx.Module, Any, Batch, jax.Array], tuple[jax.Array, Metrics]]
  params: Any = ...
  optimizer: optim.OptimizerConfig | None = None
  first_step: int = 0

  def split(self, params: nnx.State) -> tuple[nnx.State, nnx.State]:
    """Returns the parameters that this update moves, and the others."""
    return nnx.split_state(params, self.params, ...)


@dataclasses.dataclass(frozen=True)
class Stage:
  """A model, and how it is trained and scored; `fit` does the rest.

  Attributes:
    name: of the stage, and of its folder in the workdir.
    create: makes the model.
    updates: the parts of a training step, in order. Each sees what the one before has moved.
    evaluate: (model, frozen, batch) -> scores by name, each an array [B ...] with a row per clip.
    summarise: (means of these scores over all test clips, their number) -> scalar metrics.
    show: (model, frozen, batch) -> videos float32 [B T H W 3] in [-0.5, 0.5], by name.
    frozen: pytree of arrays that the stage reads and does not train.
    held_out_loss: the score, of those that `summarise` returns, by which a model is the best.
    given: arrays by name that training begins with, in place of those that `create` draws.
  """

  name: str
  create: Callable[[nnx.Rngs], nnx.Module]
  updates: tuple[Update, ...]
  evaluate: Callable[[nnx.Module, Any, Batch], Metrics]
  summarise: Callable[[Mapping[str, Any], int], dict[str, float]]
  show: Callable[[nnx.Module, Any, Batch], dict[str, jax.Array]]
  frozen: Any = None
  held_out_loss: str = ''
  given: Mapping[str, jax.Array] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    names = [update.name for update in self.updates]
    assert names and len(set(names)) == len(names), f'updates need different names: {names}'

  def abstract(self) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """Returns the model's graph and the shapes of its parameters and variables."""
    model = nnx.eval_shape(lambda: self.create(nnx.Rngs(0)))
    return nnx.split(model, nnx.Param, ...)


def init_state(
  stage: Stage, config: optim.OptimizerConfig, steps: int, key: jax.Array
) -> TrainState:
  """Returns the state before the first step. Under `jit` it is created on its devices."""
  _, params, variables = nnx.split(stage.create(nnx.Rngs(key)), nnx.Param, ...)
  return state_of(stage, config, steps, params, variables)


def state_of(
  stage: Stage,
  config: optim.OptimizerConfig,
  steps: int,
  params: nnx.State,
  variables: nnx.State,
) -> TrainState:
  """Returns the state of step 0 with these parameters and variables."""
  opt_state = {}
  for update in stage.updates:
    own, _ = update.split(params)
    assert jax.tree.leaves(own), f'update {update.name} of stage {stage.name} has no parameters'
    opt_state[update.name] = optim.make_optimizer(update.optimizer or config, steps).init(own)
  averages = jax.tree.map(jnp.copy, (params, variables)) if config.ema_decay else (None, None)
  return TrainState(jnp.zeros((), jnp.int32), params, variables, opt_state, *averages)


def make_gradients(stage: Stage, update: Update, grad_accum_steps: int = 1):
  """Returns the pure function (params, variables, frozen, batch, key) -> (gradients, variables,
  metrics), with the gradients of the batch's mean loss for the parameters of `update`.

  With `grad_accum_steps` above 1, the batch is cut into that many micro-batches, which run one
  after the other, so that activations need the memory of one. Gradients and metrics are the means
  over micro-batches. Where clips do not interact (the prior), these equal the whole batch's. The
  VQ-VAE's variables treat each micro-batch as a batch: batch norm uses its statistics (over all
  devices), and running averages and the codebook move once per micro-batch.
  """
  graphdef, *_ = stage.abstract()

  def gradients(params, variables, frozen, batch, key):
    own, others = update.split(params)

    def loss_fn(own):
      model = nnx.merge(graphdef, own, others, variables, copy=True)
      loss, metrics = update.loss(model, frozen, _in_model_range(batch), key)
      return loss, (metrics | {'loss': loss}, nnx.state(model, nnx.Not(nnx.Param)))

    grads, (metrics, moved) = jax.grad(loss_fn, has_aux=True)(own)
    return grads, moved, metrics

  def accumulated(params, variables, frozen, batch, key):
    def add(carry, inputs):
      total, variables = carry
      part, key = inputs
      grads, variables, metrics = gradients(params, variables, frozen, part, key)
      return (jax.tree.map(jnp.add, total, grads), variables), metrics

    # Take every n-th clip: each device splits its own share, and no clip changes devices.
    split = lambda x: rearrange(x, '(B n) ... -> n B ...', n=grad_accum_steps)
    parts = {name: _shard_clips(split(x)) for name, x in batch.items()}
    carry = jax.tree.map(jnp.zeros_like, update.split(params)[0]), variables
    (total, moved), metrics = jax.lax.scan(
      add, carry, (parts, jax.random.split(key, grad_accum_steps))
    )
    mean = jax.tree.map(lambda g: g / grad_accum_steps, total)
    return mean, moved, jax.tree.map(lambda m: m.mean(0), metrics)

  return gradients if grad_accum_steps == 1 else accumulated


def _shard_clips(x: jax.Array) -> jax.Array:
  """Shards axis 1, the clips of a micro-batch."""
  return constrain(x, ' '.join(['n', 'B', *(f'axis{i}' for i in range(x.ndim - 2))]))


def _in_model_range(batch: Batch) -> Batch:
  """Converts uint8 clips, which cross to the device in a quarter of the bytes, to float32."""
  if 'video' not in batch:
    return batch
  return {**batch, 'video': to_model_range(batch['video'])}


def make_train_step(
  stage: Stage, config: optim.OptimizerConfig, steps: int, grad_accum_steps: int = 1
):
  """Returns the pure function (state, frozen, batch, key) -> (state, metrics).

  If a loss or a gradient of any update is not finite, only `step` moves; `skipped` says so.
  """
  several = len(stage.updates) > 1
  applied = [_make_update(stage, u, config, steps, grad_accum_steps) for u in stage.updates]

  def train_step(state: TrainState, frozen: Any, batch: Batch, key: jax.Array):
    key = jax.random.fold_in(key, state.step)
    keys = jax.random.split(key, len(applied)) if several else [key]
    before, start, metrics = state, state.step, {}
    for update, apply, key in zip(stage.updates, applied, keys, strict=True):
      state, told = apply(state, frozen, batch, key)
      prefix = f'{update.name}/' if several else ''
      metrics |= {prefix + name: value for name, value in told.items()}
    averages = None, None
    if config.ema_decay:
      # A shorter average at first, so that the random start is soon forgotten.
      decay = jnp.minimum(config.ema_decay, (1 + start) / (10 + start))
      averages = _averages(state, decay)
    finite = _finite(metrics)
    after = TrainState(start, state.params, state.variables, state.opt_state, *averages)
    after = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, before)
    return dataclasses.replace(after, step=start + 1), metrics | {'skipped': ~finite}

  return train_step


def _averages(state: TrainState, decay: jax.Array) -> tuple[nnx.State, nnx.State]:
  """Returns the averages, `ema_params` and `ema_variables`, with this state's in them."""
  statistics, _ = nnx.split_state(state.ema_variables, nnx.BatchStat, ...)
  new_statistics, others = nnx.split_state(state.variables, nnx.BatchStat, ...)
  old, new = (state.ema_params, statistics), (state.params, new_statistics)
  params, statistics = optim.moving_average(old, new, decay)
  return params, nnx.merge_state(statistics, others)


def _finite(metrics: Metrics) -> jax.Array:
  """Returns whether the losses and the gradients of all updates are finite, a boolean scalar."""
  told = [v for name, v in metrics.items() if name.split('/')[-1] in ('loss', 'gradient_norm')]
  return jnp.isfinite(jnp.stack(told)).all()


def _make_update(
  stage: Stage, update: Update, config: optim.OptimizerConfig, steps: int, grad_accum_steps: int
):
  """Returns the pure function (state, frozen, batch, key) -> (state, metrics) of one update."""
  gradients = make_gradients(stage, update, grad_accum_steps)
  optimizer = optim.make_optimizer(update.optimizer or config, steps)
  schedule = optim.learning_rate_schedule(update.optimizer or config, steps)

  def apply(state: TrainState, frozen: Any, batch: Batch, key: jax.Array):
    grads, variables, metrics = gradients(state.params, state.variables, frozen, batch, key)
    own, others = update.split(state.params)
    moves, opt_state = optimizer.update(grads, state.opt_state[update.name], own)
    params = nnx.merge_state(optim.apply_updates(own, moves), others)
    metrics |= {
      'gradient_norm': optim.global_norm(grads),
      'learning_rate': schedule(state.step),
    }
    opt_states = state.opt_state | {update.name: opt_state}
    changed = {'params': params, 'variables': variables, 'opt_state': opt_states}
    return dataclasses.replace(state, **changed), metrics

  def rest_first(state: TrainState, *rest):
    told = jax.eval_shape(apply, state, *rest)[1]
    still = lambda state, *_: (state, jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), told))
    return jax.lax.cond(state.step >= update.first_step, apply, still, state, *rest)

  return rest_first if update.first_step else apply


def make_evaluate_step(stage: Stage):
  """Returns the pure function (model states, frozen, batch) -> (sums over clips, their number).

  Padding clips, whose `mask` is 0, do not count.
  """
  score_clips = make_clip_step(stage)

  def evaluate_step(model: tuple[nnx.State, nnx.State], frozen: Any, batch: Batch):
    scores, mask = score_clips(model, frozen, batch)
    sums = {name: jnp.einsum('b,b...->...', mask, value) for name, value in scores.items()}
    return sums, mask.sum()

  return evaluate_step


def make_clip_step(stage: Stage):
  """Returns the pure function (model states, frozen, batch) -> (figures of each clip, `mask`)."""
  graphdef, *_ = stage.abstract()

  def clip_step(model: tuple[nnx.State, nnx.State], frozen: Any, batch: Batch):
    scores = stage.evaluate(nnx.merge(graphdef, *model), frozen, _in_model_range(batch))
    return scores, batch['mask']

  return clip_step


def make_show_step(stage: Stage):
  """Returns the pure function (model states, frozen, batch) -> videos by name."""
  graphdef, *_ = stage.abstract()

  def show_step(model: tuple[nnx.State, nnx.State], frozen: Any, batch: Batch):
    return stage.show(nnx.merge(graphdef, *model), frozen, _in_model_range(batch))

  return show_step
