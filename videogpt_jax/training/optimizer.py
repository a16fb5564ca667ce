"""Adam with the schedule, clipping and averaging that both stages use."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

STATE_DTYPES = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How parameters move.

  Attributes:
    learning_rate: the peak.
    schedule: 'constant' or 'cosine' (to zero at the last step), after the warm-up.
    warmup_steps: linear, from zero.
    b1, b2: decay rates of Adam's moments.
    weight_decay: decoupled (AdamW).
    clip_norm: gradients are scaled down to this global norm; 0 leaves them.
    ema_decay: of the averaged parameters that evaluation and sampling then use; 0 keeps none.
    state_dtype: of Adam's moments between steps; 'bfloat16' halves their memory.
  """

  learning_rate: float = 3e-4
  schedule: str = 'cosine'
  warmup_steps: int = 0
  b1: float = 0.9
  b2: float = 0.999
  weight_decay: float = 0.0
  clip_norm: float = 1.0
  ema_decay: float = 0.0
  state_dtype: str = 'float32'

  def __post_init__(self):
    if self.schedule not in ('constant', 'cosine'):
      raise ValueError(f"schedule {self.schedule!r} is not one of ('constant', 'cosine')")
    for name in ('b1', 'b2', 'ema_decay'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'{name} ({getattr(self, name)}) must be in [0, 1)')
    for name in ('learning_rate', 'warmup_steps', 'weight_decay', 'clip_norm'):
      if not getattr(self, name) >= 0:
        raise ValueError(f'{name} ({getattr(self, name)}) must not be negative')
    if self.state_dtype not in STATE_DTYPES:
      raise ValueError(f'state_dtype {self.state_dtype!r} is not one of {STATE_DTYPES}')


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
  """Returns the learning rate at each of `steps` steps."""
  rest = max(steps - config.warmup_steps, 1)
  after = (
    optax.cosine_decay_schedule(config.learning_rate, rest)
    if config.schedule == 'cosine'
    else optax.constant_schedule(config.learning_rate)
  )
  warmup = optax.linear_schedule(0, config.learning_rate, config.warmup_steps)
  return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
  """Returns clipping, then Adam with decoupled weight decay. Source: Kingma and Ba 2014."""
  clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
  adam = optax.scale_by_adam(b1=config.b1, b2=config.b2)
  return optax.chain(
    clip,
    _kept_in_bfloat16(adam) if config.state_dtype == 'bfloat16' else adam,
    optax.add_decayed_weights(config.weight_decay),
    optax.scale_by_learning_rate(learning_rate_schedule(config, steps)),
  )


def _kept_in_bfloat16(adam: optax.GradientTransformation) -> optax.GradientTransformation:
  """Adam in float32 whose moments are bfloat16 between steps, rounded up or down by chance.

  To the nearest, the second moment would stand still: at b2 = 0.999 a step moves it by about a
  thousandth, where neighbouring bfloat16 numbers are four to eight thousandths apart.
  """

  def lower(state: optax.ScaleByAdamState, key: jax.Array) -> optax.ScaleByAdamState:
    moments, treedef = jax.tree.flatten((state.mu, state.nu))
    keys = jax.random.split(key, len(moments))
    lowered = [round_by_chance(m, k) for m, k in zip(moments, keys, strict=True)]
    mu, nu = jax.tree.unflatten(treedef, lowered)
    return state._replace(mu=mu, nu=nu)

  def init(params):
    return lower(adam.init(params), jax.random.key(0))

  def update(grads, state, params=None):
    moments = jax.tree.map(lambda m: m.astype(jnp.float32), (state.mu, state.nu))
    updates, moved = adam.update(grads, state._replace(mu=moments[0], nu=moments[1]), params)
    # The chance of a step depends on its number alone, so that resuming repeats it.
    return updates, lower(moved, jax.random.fold_in(jax.random.key(0), state.count))

  return optax.GradientTransformation(init, update)


def round_by_chance(x: jax.Array, key: jax.Array) -> jax.Array:
  """Returns x, float32, as bfloat16: one of its two neighbours, x on average."""
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  bits += jax.random.bits(key, x.shape, jnp.uint32) >> 16  # carries into the half that is kept
  return jax.lax.bitcast_convert_type((bits >> 16).astype(jnp.uint16), jnp.bfloat16)


def global_norm(tree) -> float:
  """Returns the root of the sum of all squares in `tree`."""
  return optax.tree.norm(tree)


def apply_updates(params, updates):
  """Returns the parameters, moved."""
  return optax.apply_updates(params, updates)


def moving_average(average, params, decay: float):
  """Returns `average`, moved towards `params` by 1 - decay."""
  return optax.incremental_update(params, average, 1 - decay)
