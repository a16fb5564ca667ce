"""Training cost of the paper's rows, as a table for docs/paper.md: `python -m benchmarks.costs`.

Counted, not measured, and without compiling: a training step is three forward passes. XLA counts
those of the VQ-VAE and of the frame conditioner. The prior's blocks are a loop, whose body XLA
counts once, so they go by formula, with full causal attention even where the mask is sparse.
`python -m videogpt_jax.plan` counts the compiled program.

Axis letters: L codes of a clip; M positions of conditioning frames; D hidden units.
"""

import dataclasses
import importlib
import math
from collections.abc import Callable

import jax
from flax import nnx

from configs import ablations
from videogpt_jax import cli
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.models.conditioners import frames_grid
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.vqvae import VQVAE

ROWS = (
  ('bair',),
  ('bair', 'table9'),
  ('bair', 'published'),
  ('ucf101',),
  ('ucf101', '64'),
  ('ucf101', 'published'),
  ('tgif',),
  ('vizdoom_hgs',),
  ('vizdoom_battle2',),
  ('robonet',),
  ('moving_mnist',),
  ('kinetics600',),
  ('kinetics600', 'stride2x4x4'),
  ('kinetics600', 'published'),
)
"""Configurations and their arguments."""

CHIP_FLOPS = 0.4 * 197e12
"""Operations per second of a TPU v5e chip in bfloat16, at a utilisation of 40 %."""

DAY = 24 * 60 * 60


@dataclasses.dataclass(frozen=True)
class Cost:
  """Parameters of a row's models, and the operations of their whole training."""

  vqvae_parameters: int
  prior_parameters: int
  vqvae_flops: float
  prior_flops: float


def cost(experiment: Experiment) -> Cost:
  """Returns the cost of both stages, with clips encoded at every step of the prior."""
  grid = experiment.codes.latent_shape
  vqvae = nnx.eval_shape(lambda: VQVAE(experiment.vqvae, grid, rngs=nnx.Rngs(0)))
  prior = nnx.eval_shape(lambda: Prior(experiment.prior, experiment.codes, rngs=nnx.Rngs(0)))
  video = jax.ShapeDtypeStruct((1, *experiment.codes.clip_shape), 'float32')
  whole = _forward_flops(vqvae, lambda model, video: model(video).reconstruction, video)
  encoding = _forward_flops(vqvae, lambda model, video: model.encode(video), video)
  clips = [t.steps * t.batch_size for t in (experiment.vqvae_training, experiment.prior_training)]
  return Cost(
    n_parameters(vqvae),
    n_parameters(prior),
    clips[0] * 3 * whole,
    clips[1] * (3 * _prior_flops(prior) + encoding),
  )


def describe(cost: Cost) -> tuple[str, str]:
  """Returns parameters and planned cost as docs/paper.md prints them."""
  flops = cost.vqvae_flops + cost.prior_flops
  return (
    f'{cost.vqvae_parameters / 1e6:.1f} M, {cost.prior_parameters / 1e6:.1f} M',
    f'{_short(flops / 1e18)} EFLOP, {_short(flops / CHIP_FLOPS / DAY)} days',
  )


def n_parameters(module: nnx.Module) -> int:
  """Returns the number of trained parameters."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def _prior_flops(prior: Prior) -> float:
  """Returns the operations of a forward pass of one clip."""
  config, L = prior.config, math.prod(prior.codes.latent_shape)
  D, n_layers = config.hidden_dim, config.n_layers
  # Causal attention: half of two products of L x L with D.
  total = 2 * L * L * D * n_layers
  for path, kernel in nnx.to_flat_state(nnx.state(prior, nnx.Param)):
    # The norms' condition has an entry per latent frame, not per code: negligible.
    if path[-1] == 'kernel' and path[0] in ('fc_in', 'blocks', 'fc_out'):
      on_frames = path[1] == 'cross_attn' and path[2] in ('key', 'value')
      if not on_frames and not path[1].endswith('norm'):
        total += 2 * L * math.prod(kernel.shape)
  if not config.n_cond_frames:
    return total
  frames = jax.ShapeDtypeStruct((1, config.n_cond_frames, *prior.codes.frame_size, 3), 'float32')
  M = math.prod(frames_grid(config, prior.codes))
  memory = prior.blocks.cross_attn
  # Queries meet keys, weights meet values, once per block.
  n_channels = memory.key.kernel.shape[-1] + memory.value.kernel.shape[-1]
  cross = 2 * L * M * n_channels * n_layers
  keys_values = 2 * M * sum(math.prod(x.kernel.shape) for x in (memory.key, memory.value))
  resnet = prior.conditioners.frames.resnet
  resnet = _forward_flops(resnet, lambda resnet, frames: resnet(frames), frames)
  return total + cross + keys_values + resnet


def _forward_flops(module: nnx.Module, function: Callable, x: jax.ShapeDtypeStruct) -> float:
  graph, state = nnx.split(module)
  call = jax.jit(lambda state, x: function(nnx.merge(graph, state), x))
  traced = call.trace(state, x)  # on CPU, some convolutions are larger matrix products
  return traced.lower(lowering_platforms=('tpu',)).cost_analysis()['flops']


def _short(value: float) -> str:
  return f'{value:.0f}' if value >= 10 else f'{value:.2g}'


def experiments() -> dict[str, Experiment]:
  """Returns every configuration of the paper by name, the ablations' rows last."""
  found = {
    ':'.join(row): from_dict(importlib.import_module(f'configs.{row[0]}').get_config(*row[1:]))
    for row in ROWS
  }
  for table, rows in ablations.PAPER.items():
    found |= {f'ablations:{table},{row}': ablations.experiment(table, row) for row in rows}
  return found


def main(argv):
  del argv
  print('| configuration | parameters: VQ-VAE, prior | planned cost |')
  print('|---|---|---|')
  for name, experiment in experiments().items():
    print(f'| {name} | {" | ".join(describe(cost(experiment)))} |', flush=True)


if __name__ == '__main__':
  cli.start(main)
