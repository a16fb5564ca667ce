"""Settings of a stage's training."""

import dataclasses

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.training.optimizer import OptimizerConfig

KEEP = 2
"""Default number of checkpoints of a stage that are kept, the newest ones."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How long a stage trains, on how much data, and how often it reports.

  Attributes:
    steps: total number of steps; 0 uses the model of `init_from` as it is.
    batch_size: clips per step, over all hosts.
    grad_accum_steps: micro-batches per step, which run one after the other to save memory; see
      `step.make_gradients`.
    optimizer: see OptimizerConfig.
    log_every, evaluate_every, checkpoint_every: in steps.
    evaluate_batches: held-out batches per evaluation during training; -1 for all. The evaluation
      after the last step always takes all.
    keep_best: whether the run keeps, and uses, the model with the lowest held-out loss of all
      evaluations instead of the last one.
    keep: number of checkpoints that are kept, the newest ones; the last good one is kept besides.
    max_skipped: after so many steps in a row whose loss or gradient is not finite, training goes
      back to the last good checkpoint.
    max_returns: how often it may go back before it ends.
    slow_down: what the learning rate is multiplied by each time.
    init_from: workdir, export or published checkpoint whose model training begins with; '' draws
      random parameters.
    init_skip: parts of the model, separated by commas, that are drawn nevertheless ('fc_out').
  """

  steps: int = 100_000
  batch_size: int = 32
  grad_accum_steps: int = 1
  optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
  log_every: int = 50
  evaluate_every: int = 2_000
  evaluate_batches: int = 16
  checkpoint_every: int = 2_000
  keep_best: bool = False
  keep: int = KEEP
  max_skipped: int = 20
  max_returns: int = 3
  slow_down: float = 0.5
  init_from: str = ''
  init_skip: str = ''

  def __post_init__(self):
    counts = ('batch_size', 'grad_accum_steps', 'keep', 'max_skipped')
    for name in (*counts, 'log_every', 'evaluate_every', 'checkpoint_every'):
      if getattr(self, name) < 1:
        raise UserError(f'{name} ({getattr(self, name)}) must be at least 1')
    typed.at_most('training', self, {'batch_size': 2**20, 'keep': 2**20})
    if self.steps < (0 if self.init_from else 1):
      rule = 'not be negative' if self.init_from else 'be at least 1, or 0 with init_from'
      raise UserError(f'steps ({self.steps}) must {rule}')
    if self.init_skip and not self.init_from:
      raise UserError(f'init_skip ({self.init_skip!r}) needs init_from')
    if self.max_returns < 0:
      raise UserError(f'max_returns ({self.max_returns}) must not be negative')
    if not 0 < self.slow_down < 1:
      raise UserError(f'slow_down ({self.slow_down}) must be between 0 and 1')
    if self.evaluate_batches < 1 and self.evaluate_batches != -1:
      raise UserError(
        f'evaluate_batches ({self.evaluate_batches}) must be at least 1, or -1 for all held-out '
        'clips; to evaluate less often, raise evaluate_every'
      )
