"""Adam with the schedule, clipping, weight decay and averaging that all stages use."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from videogpt_jax.errors import UserError
from videogpt_jax.training.paths import name_of

SCHEDULES = ('constant', 'cosine')
STATE_DTYPES = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How parameters move.

  Attributes:
    learning_rate: peak value.
    schedule: after the warm-up, 'constant' or 'cosine' (to zero at the last step).
    warmup_steps: steps of a linear warm-up from zero.
    b1, b2: decay rates of Adam's moments.
    weight_decay: decoupled (AdamW); see `decays` for the parameters that it applies to.
    clip_norm: largest global norm of the gradients, which are scaled down to it; 0 for no clipping.
    ema_decay: decay rate of the averaged model, which evaluation and sampling then use; 0 for none.
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
    if self.schedule not in SCHEDULES:
      raise UserError(f'schedule {self.schedule!r} is not one of {SCHEDULES}')
    for name in ('b1', 'b2', 'ema_decay'):
      if not 0 <= getattr(self, name) < 1:
        raise UserError(f'{name} ({getattr(self, name)}) must be in [0, 1)')
    for name in ('learning_rate', 'warmup_steps', 'weight_decay', 'clip_norm'):
      if not getattr(self, name) >= 0:
        raise UserError(f'{name} ({getattr(self, name)}) must not be negative')
    if self.state_dtype not in STATE_DTYPES:
      raise UserError(f'state_dtype {self.state_dtype!r} is not one of {STATE_DTYPES}')


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
  """Returns the learning rate as a function of the step, for a training of `steps` steps."""
  rest = max(steps - config.warmup_steps, 1)
  after = (
    optax.cosine_decay_schedule(config.learning_rate, rest)
    if config.schedule == 'cosine'
    else optax.constant_schedule(config.learning_rate)
  )
  warmup = optax.linear_schedule(0, config.learning_rate, config.warmup_steps)
  return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
  """Returns clipping, then Adam with decoupled weight decay.

  Source: Kingma and Ba 2014; Loshchilov and Hutter 2019.
  """
  clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
  adam = optax.scale_by_adam(b1=config.b1, b2=config.b2)
  return optax.chain(
    clip,
    _stored_in_bfloat16(adam) if config.state_dtype == 'bfloat16' else adam,
    optax.add_decayed_weights(config.weight_decay, mask=decays),
    optax.scale_by_learning_rate(learning_rate_schedule(config, steps)),
  )


def decays(params):
  """Returns for each parameter whether weight decay applies to it, as a tree of booleans.

  It applies to the kernels of linear layers and convolutions. Biases, position tables, start
  vectors, and the gains and shifts of norms do not decay; nor do the kernels with which a
  conditional norm makes its gain and shift. The number of axes cannot tell these apart, since the
  prior's stacked blocks add a layer axis to all of them.
  """

  def decays_one(path, x) -> bool:
    *modules, name = name_of(path).split('/')
    return name == 'kernel' and x.ndim >= 2 and not any('norm' in module for module in modules)

  return jax.tree_util.tree_map_with_path(decays_one, params)


def _stored_in_bfloat16(adam: optax.GradientTransformation) -> optax.GradientTransformation:
  """Returns Adam in float32 that stores its moments as bfloat16, by stochastic rounding.

  Rounding to nearest would freeze the second moment: at b2 = 0.999 a step changes it by about
  0.1 %, and neighbouring bfloat16 numbers are 0.4 % to 0.8 % apart.
  """

  def lower(state: optax.ScaleByAdamState, key: jax.Array) -> optax.ScaleByAdamState:
    moments, treedef = jax.tree.flatten((state.mu, state.nu))
    keys = jax.random.split(key, len(moments))
    lowered = [stochastic_round(m, k) for m, k in zip(moments, keys, strict=True)]
    mu, nu = jax.tree.unflatten(treedef, lowered)
    return state._replace(mu=mu, nu=nu)

  def init(params):
    return lower(adam.init(params), jax.random.key(0))

  def update(grads, state, params=None):
    moments = jax.tree.map(lambda m: m.astype(jnp.float32), (state.mu, state.nu))
    updates, moved = adam.update(grads, state._replace(mu=moments[0], nu=moments[1]), params)
    # The key depends on the step alone, so that a resumed run repeats it.
    return updates, lower(moved, jax.random.fold_in(jax.random.key(0), state.count))

  return optax.GradientTransformation(init, update)


def stochastic_round(x: jax.Array, key: jax.Array) -> jax.Array:
  """Rounds float32 to one of the two neighbouring bfloat16 numbers, unbiased."""
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  bits += jax.random.bits(key, x.shape, jnp.uint32) >> 16  # carries into the upper half, kept below
  return jax.lax.bitcast_convert_type((bits >> 16).astype(jnp.uint16), jnp.bfloat16)


def global_norm(tree) -> jax.Array:
  """Returns the square root of the sum of squares of all entries."""
  return optax.tree.norm(tree)


def apply_updates(params, updates):
  """Returns the parameters plus the optimiser's updates."""
  return optax.apply_updates(params, updates)


def moving_average(average, values, decay: float | jax.Array):
  """Returns `average` moved towards `values` by 1 - decay; integers and booleans are copied."""

  def move(old, new):
    if not jnp.issubdtype(new.dtype, jnp.floating):
      return new
    return optax.incremental_update(new, old, 1 - decay)

  return jax.tree.map(move, average, values)
