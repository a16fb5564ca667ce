"""Compiled training steps to be timed, and the operations of a prior's.

Axis letters: L codes of a clip; D hidden units.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.step import Stage, TrainState, init_state, make_train_step

BAIR = CodeSpec((4, 32, 32), n_codes=2048, embedding_dim=256, sequence_length=16, resolution=64)

N_STEPS = 100
"""Steps of the training that the schedule of the learning rate is made for."""


class TrainStep:
  """A stage's compiled training step, optimiser included, with the state that it moves.

  Attributes:
    state: after the steps so far; a step donates it.
    compile_seconds: how long tracing and compiling took.
    planned_bytes: arguments, results and temporary arrays as compiled, donated ones counted once;
      None where the compiler does not tell.
  """

  def __init__(self, stage: Stage, batch: Mapping[str, Any], state: TrainState | None = None):
    """Compiles the step of this stage for such a batch; without a state, creates one."""
    optimizer, key = OptimizerConfig(), jax.random.key(0)
    if state is None:
      state = jax.jit(lambda: init_state(stage, optimizer, N_STEPS, key))()
    update = jax.jit(make_train_step(stage, optimizer, N_STEPS), donate_argnums=0)
    begun = time.perf_counter()
    self._step = update.lower(state, stage.frozen, batch, key).compile()
    self.compile_seconds = time.perf_counter() - begun
    self.state, self._inputs = state, (stage.frozen, batch, key)
    self.planned_bytes = planned_bytes(self._step)

  def __call__(self, n: int = 1):
    """Runs n steps, and waits for the last."""
    for _ in range(n):
      self.state, _ = self._step(self.state, *self._inputs)
    jax.block_until_ready(self.state)


def planned_bytes(compiled: jax.stages.Compiled) -> int | None:
  """Returns the memory that a program takes as compiled, or None where that is not told."""
  m = compiled.memory_analysis()
  if m is None:
    return None
  held = m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes
  return held - m.alias_size_in_bytes


def prior_step(
  config: PriorConfig, spec: CodeSpec, batch_size: int, state: TrainState | None = None
) -> TrainStep:
  """Returns the training step of this prior on random codes."""
  vqvae_config = VQVAEConfig(spec.embedding_dim, spec.n_codes, n_hiddens=8)
  vqvae = trained(VQVAE(vqvae_config, rngs=nnx.Rngs(0)))
  stage = prior_stage(config, Tokenizer(vqvae.graph, vqvae.state, vqvae_config, spec))
  shape = (batch_size, *spec.latent_shape)
  codes = jax.random.randint(jax.random.key(0), shape, 0, spec.n_codes)
  return TrainStep(stage, {'codes': codes}, state)


def prior_flops(config: PriorConfig, spec: CodeSpec, batch_size: int) -> float:
  """Returns the operations of a prior's training step that count for utilisation.

  These are two for each multiplication of a matrix product, in the forward pass and twice in the
  backward pass. Recomputation does not count, and of causal attention half of the scores do.
  """
  L, D = math.prod(spec.latent_shape), config.hidden_dim
  feed_forward = (3 if config.mlp == 'swiglu' else 2) * D * config.mlp_units
  linear = config.n_layers * (4 * D * D + feed_forward)
  linear += D * (spec.embedding_dim + spec.n_codes)
  attended = config.n_layers * D * L  # scores and weighted sums, for half of the pairs
  return 6.0 * batch_size * L * (linear + attended)
