"""Adam with the schedule, clipping and averaging that both stages use."""

import dataclasses

import optax


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
  """

  learning_rate: float = 3e-4
  schedule: str = 'cosine'
  warmup_steps: int = 0
  b1: float = 0.9
  b2: float = 0.999
  weight_decay: float = 0.0
  clip_norm: float = 1.0
  ema_decay: float = 0.0

  def __post_init__(self):
    if self.schedule not in ('constant', 'cosine'):
      raise ValueError(f"schedule {self.schedule!r} is not one of ('constant', 'cosine')")
    for name in ('b1', 'b2', 'ema_decay'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'optimizer.{name} ({getattr(self, name)}) must be in [0, 1)')
    for name in ('learning_rate', 'warmup_steps', 'weight_decay', 'clip_norm'):
      if not getattr(self, name) >= 0:
        raise ValueError(f'optimizer.{name} ({getattr(self, name)}) must not be negative')


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
  adam = optax.adamw(
    learning_rate_schedule(config, steps),
    b1=config.b1,
    b2=config.b2,
    weight_decay=config.weight_decay,
  )
  return optax.chain(clip, adam)


def global_norm(tree) -> float:
  """Returns the root of the sum of all squares in `tree`."""
  return optax.tree.norm(tree)


def apply_updates(params, updates):
  """Returns the parameters, moved."""
  return optax.apply_updates(params, updates)


def moving_average(average, params, decay: float):
  """Returns `average`, moved towards `params` by 1 - decay."""
  return optax.incremental_update(params, average, 1 - decay)
