"""What a stage supplies, and the train step and evaluation step made of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.placement import constrain
from videogpt_jax.training import optimizer as optim

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that a step changes.

  Attributes:
    step: int32 scalar, steps done.
    params: what gradients move (nnx.Param).
    variables: what the model moves itself: batch statistics, codebook.
    opt_state: of the optimiser.
    ema_params: averaged parameters, or None.
  """

  step: jax.Array
  params: nnx.State
  variables: nnx.State
  opt_state: Any
  ema_params: nnx.State | None

  @property
  def model(self) -> tuple[nnx.State, nnx.State]:
    """The states to evaluate, sample and export with: averaged parameters where there are any."""
    return (self.params if self.ema_params is None else self.ema_params), self.variables


@dataclasses.dataclass(frozen=True)
class Stage:
  """A model and how it is trained and scored. `fit` knows the rest.

  Attributes:
    name: also of its folder in the workdir.
    create: makes the model.
    loss: (model, frozen, batch, key) -> scalar loss and scalar metrics; it may move the model's
      own variables.
    evaluate: (model, frozen, batch) -> for each score an array [B ...] of every clip's share.
    summarise: the means of these over all test clips -> scalar metrics.
    show: (model, frozen, batch) -> videos float32 [B T H W 3] in [-0.5, 0.5], by name.
    frozen: arrays that the stage needs and does not train, as a pytree.
  """

  name: str
  create: Callable[[nnx.Rngs], nnx.Module]
  loss: Callable[[nnx.Module, Any, Batch, jax.Array], tuple[jax.Array, Metrics]]
  evaluate: Callable[[nnx.Module, Any, Batch], Metrics]
  summarise: Callable[[Mapping[str, Any]], dict[str, float]]
  show: Callable[[nnx.Module, Any, Batch], dict[str, jax.Array]]
  frozen: Any = None

  def abstract(self) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """Returns the model's graph and the shapes of its parameters and variables."""
    model = nnx.eval_shape(lambda: self.create(nnx.Rngs(0)))
    return nnx.split(model, nnx.Param, ...)


def init_state(
  stage: Stage, config: optim.OptimizerConfig, steps: int, key: jax.Array
) -> TrainState:
  """Returns the state before the first step; under `jit` it is made where it belongs."""
  _, params, variables = nnx.split(stage.create(nnx.Rngs(key)), nnx.Param, ...)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    variables=variables,
    opt_state=optim.make_optimizer(config, steps).init(params),
    ema_params=jax.tree.map(jnp.copy, params) if config.ema_decay else None,
  )


def make_gradients(stage: Stage, grad_accum_steps: int = 1):
  """Returns the pure function (params, variables, frozen, batch, key) -> (gradients, variables,
  metrics), of the mean loss of the batch.

  With `grad_accum_steps` above 1 the batch goes through in so many micro-batches, one after the
  other, and only one of them needs memory for activations. Gradients and metrics are their means:
  those of the whole batch where clips do not see each other (the prior). The VQ-VAE's variables
  (batch statistics, codebook) take each micro-batch for a batch of its own: the norms use its
  statistics, over all devices, and running averages and codes move once for each.
  """
  graphdef, *_ = stage.abstract()

  def gradients(params, variables, frozen, batch, key):
    def loss_fn(params):
      model = nnx.merge(graphdef, params, variables, copy=True)
      loss, metrics = stage.loss(model, frozen, batch, key)
      return loss, (metrics | {'loss': loss}, nnx.state(model, nnx.Not(nnx.Param)))

    grads, (metrics, moved) = jax.grad(loss_fn, has_aux=True)(params)
    return grads, moved, metrics

  def accumulated(params, variables, frozen, batch, key):
    def add(carry, inputs):
      total, variables = carry
      part, key = inputs
      grads, variables, metrics = gradients(params, variables, frozen, part, key)
      return (jax.tree.map(jnp.add, total, grads), variables), metrics

    # Every n-th clip, so that each device cuts its own share and none is sent about.
    split = lambda x: rearrange(x, '(B n) ... -> n B ...', n=grad_accum_steps)
    parts = {name: _place_clips(split(x)) for name, x in batch.items()}
    carry = jax.tree.map(jnp.zeros_like, params), variables
    (total, moved), metrics = jax.lax.scan(
      add, carry, (parts, jax.random.split(key, grad_accum_steps))
    )
    mean = jax.tree.map(lambda g: g / grad_accum_steps, total)
    return mean, moved, jax.tree.map(lambda m: m.mean(0), metrics)

  return gradients if grad_accum_steps == 1 else accumulated


def _place_clips(x: jax.Array) -> jax.Array:
  """Shares out axis 1, the clips of a micro-batch."""
  return constrain(x, ' '.join(['n', 'B', *(f'axis{i}' for i in range(x.ndim - 2))]))


def make_train_step(
  stage: Stage, config: optim.OptimizerConfig, steps: int, grad_accum_steps: int = 1
):
  """Returns the pure function (state, frozen, batch, key) -> (state, metrics)."""
  gradients = make_gradients(stage, grad_accum_steps)
  optimizer = optim.make_optimizer(config, steps)
  schedule = optim.learning_rate_schedule(config, steps)

  def train_step(state: TrainState, frozen: Any, batch: Batch, key: jax.Array):
    key = jax.random.fold_in(key, state.step)
    grads, variables, metrics = gradients(state.params, state.variables, frozen, batch, key)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optim.apply_updates(state.params, updates)
    ema_params = None
    if config.ema_decay:
      # Early on, average over what there is, so that the random start is soon forgotten.
      decay = jnp.minimum(config.ema_decay, (1 + state.step) / (10 + state.step))
      ema_params = optim.moving_average(state.ema_params, params, decay)
    metrics |= {
      'gradient_norm': optim.global_norm(grads),
      'learning_rate': schedule(state.step),
    }
    return TrainState(state.step + 1, params, variables, opt_state, ema_params), metrics

  return train_step


def make_evaluate_step(stage: Stage):
  """Returns the pure function (model states, frozen, batch) -> (sums over clips, their number).

  Padding clips, whose `mask` is 0, do not count.
  """
  graphdef, *_ = stage.abstract()

  def evaluate_step(model: tuple[nnx.State, nnx.State], frozen: Any, batch: Batch):
    scores = stage.evaluate(nnx.merge(graphdef, *model), frozen, batch)
    mask = batch['mask']
    sums = {name: jnp.einsum('b,b...->...', mask, value) for name, value in scores.items()}
    return sums, mask.sum()

  return evaluate_step


def make_show_step(stage: Stage):
  """Returns the pure function (model states, frozen, batch) -> videos by name."""
  graphdef, *_ = stage.abstract()
  return lambda model, frozen, batch: stage.show(nnx.merge(graphdef, *model), frozen, batch)
