"""The programs of an experiment, on devices that need not exist: nothing here is computed.

Axis letters: B batch; T H W frames, height, width.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax.config import Experiment
from videogpt_jax.models.attention import strided_mask
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.sampling.controls import make_controls
from videogpt_jax.sampling.loop import decode
from videogpt_jax.stages.train_prior import Tokenizer, prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training.fit import TrainingConfig, on_devices
from videogpt_jax.training.sharding import (
  BATCH,
  check_batch,
  check_prior,
  on_mesh,
  shardings,
)
from videogpt_jax.training.step import Stage

STAGES = ('vqvae', 'prior', 'sample')


@dataclasses.dataclass(frozen=True)
class Step:
  """A program and what it is given.

  Attributes:
    name: of `STAGES`.
    experiment: whose program it is.
    batch_size: clips a step, over all devices.
    shares: what the batch size must be divisible by.
    mesh: the devices.
    attention_flops: operations of the prior's self-attention on one device, by formula: what a
      kernel that does not state its own counts with.
    parts: the arguments by what they are, as placed shapes: 'parameters', 'optimiser state', ...
    lower: traces the program.
  """

  name: str
  experiment: Experiment
  batch_size: int
  shares: int
  mesh: Mesh
  parts: dict[str, Any]
  lower: Callable[[], jax.stages.Lowered]
  attention_flops: float = 0.0

  def part_bytes(self) -> dict[str, int]:
    """Bytes of each part on one device."""
    return {name: bytes_per_device(part) for name, part in self.parts.items()}


def bytes_per_device(tree: Any) -> int:
  """Bytes that one device holds of placed shapes."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * _itemsize(leaf.dtype)
    for leaf in jax.tree.leaves(tree)
  )


def _itemsize(dtype: Any) -> int:
  return 8 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else jnp.dtype(dtype).itemsize


def make_step(name: str, experiment: Experiment, mesh: Mesh, batch_size: int | None = None) -> Step:
  """Returns one of the experiment's programs.

  Args:
    name: of `STAGES`.
    experiment: what to run.
    mesh: on which devices.
    batch_size: clips a step; None takes the configuration's.
  Raises:
    ValueError: the mesh cannot share out the batch, the heads or the positions.
  """
  length = math.prod(experiment.codes.latent_shape)
  check_prior(experiment.prior.n_heads, length, mesh)
  if name == 'sample':
    return _sampler(experiment, mesh, batch_size or experiment.sample.num)
  stage, training = stage_of(name, experiment)
  if batch_size:
    training = dataclasses.replace(training, batch_size=batch_size)
  check_batch(training.batch_size, mesh, training.grad_accum_steps, f'{name}_training')
  batch = _batch(name, experiment, training.batch_size, mesh)
  step = _train_step(stage, experiment, training, batch, mesh)
  if name == 'vqvae':
    return step
  flops = training.batch_size * attention_flops(experiment) / mesh.size
  return dataclasses.replace(step, attention_flops=flops)


def attention_flops(experiment: Experiment) -> float:
  """Operations of the prior's self-attention for a clip, in a training step with a TPU's kernel.

  Two products forward; seven backward, which computes scores and their gradients twice, for queries
  and for keys and values; two more where the block is computed again.
  """
  prior, grid = experiment.prior, experiment.codes.latent_shape
  length = math.prod(grid)
  pairs = length * (length + 1) / 2
  if prior.attn_type == 'sparse':
    mask = strided_mask(grid, prior.attn_block, prior.n_local_blocks)
    pairs = float(mask.layout.sum()) * mask.block**2
  products = 2 + 7 + (2 if prior.remat == 'full' else 0)
  return products * 2 * pairs * prior.hidden_dim * prior.n_layers


def stage_of(name: str, experiment: Experiment) -> tuple[Stage, TrainingConfig]:
  """The stage and how it trains; the prior's tokenizer is shapes only."""
  if name == 'vqvae':
    return vqvae_stage(experiment.vqvae), experiment.vqvae_training
  stage = prior_stage(experiment.prior, experiment.codes, _tokenizer(experiment))
  return stage, experiment.prior_training


def _train_step(
  stage: Stage, experiment: Experiment, training: TrainingConfig, batch: dict, mesh: Mesh
) -> Step:
  state, step_fn = on_devices(stage, training, mesh)
  frozen = _replicated(stage.frozen, mesh)
  key = _replicated(jax.eval_shape(lambda: jax.random.key(0)), mesh)
  parts = {
    'parameters': state.params,
    'optimiser state': state.opt_state,
    'averaged parameters': state.ema_params,
    'batch statistics and codebook': state.variables,
    'frozen tokenizer': frozen,
    'batch': batch,
  }
  lower = lambda: step_fn.lower(state, frozen, batch, key)
  shares = mesh.shape['data'] * mesh.shape['fsdp'] * training.grad_accum_steps
  return Step(stage.name, experiment, training.batch_size, shares, mesh, parts, lower)


def _sampler(experiment: Experiment, mesh: Mesh, batch_size: int) -> Step:
  """The loop that draws codes; parameters live as in training, clips are shared out evenly."""
  shares = mesh.shape['data'] * mesh.shape['fsdp']
  batch_size = -(-batch_size // shares) * shares
  prior = nnx.eval_shape(lambda: Prior(experiment.prior, experiment.codes, rngs=nnx.Rngs(0)))
  graphdef, state = nnx.split(prior)
  state = _placed(state, shardings(state, mesh))
  vqvae = nnx.eval_shape(lambda: VQVAE(experiment.vqvae, rngs=nnx.Rngs(0)))
  codebook = _replicated(vqvae.codebook.embeddings.get_value(), mesh)
  conditions = {
    key: value
    for key, value in _batch('sample', experiment, batch_size, mesh).items()
    if key in ('label', 'frames', 'actions')
  }
  settings = experiment.sample
  controls = make_controls(
    experiment.codes.n_codes, settings.temperature, settings.top_k, settings.top_p
  )
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch_size))
  keys = jax.ShapeDtypeStruct(keys.shape, keys.dtype, sharding=NamedSharding(mesh, BATCH))

  def draw(state, codebook, keys, conditions):
    prior = nnx.merge(graphdef, state)
    condition = prior.condition(
      conditions.get('label'), conditions.get('frames'), conditions.get('actions')
    )
    return decode(prior, codebook, condition, keys, controls).codes

  parts = {'parameters': state, 'batch': (keys, conditions)}
  lower = lambda: jax.jit(on_mesh(draw, mesh)).lower(state, codebook, keys, conditions)
  return Step('sample', experiment, batch_size, shares, mesh, parts, lower)


def _tokenizer(experiment: Experiment) -> Tokenizer:
  vqvae = nnx.eval_shape(lambda: VQVAE(experiment.vqvae, rngs=nnx.Rngs(0)))
  graphdef, *state = nnx.split(vqvae, nnx.Param, ...)
  return Tokenizer(graphdef, tuple(state))


def _batch(name: str, experiment: Experiment, batch_size: int, mesh: Mesh) -> dict:
  """The shapes of a batch: what input/pipeline.py delivers and this program uses."""
  spec, prior = experiment.codes, experiment.prior
  frame = (spec.resolution, spec.resolution, 3)
  shapes: dict[str, tuple[tuple[int, ...], Any]] = {}
  if name == 'prior' and experiment.prior_codes:
    shapes['codes'] = spec.latent_shape, jnp.int32
    if prior.n_cond_frames:
      shapes['video'] = (prior.n_cond_frames, *frame), jnp.float32
  elif name != 'sample':
    shapes['video'] = (spec.sequence_length, *frame), jnp.float32
  elif prior.n_cond_frames:
    shapes['frames'] = (prior.n_cond_frames, *frame), jnp.float32
  if name != 'vqvae' and prior.n_classes:
    shapes['label'] = (), jnp.int32
  if name != 'vqvae' and prior.action_dim:
    shapes['actions'] = (spec.sequence_length, prior.action_dim), jnp.float32
  place = NamedSharding(mesh, BATCH)
  return {
    key: jax.ShapeDtypeStruct((batch_size, *shape), dtype, sharding=place)
    for key, (shape, dtype) in shapes.items()
  }


def _replicated(tree: Any, mesh: Mesh) -> Any:
  return _placed(tree, jax.tree.map(lambda _: NamedSharding(mesh, P()), tree))


def _placed(tree: Any, places: Any) -> Any:
  return jax.tree.map(
    lambda a, place: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), tree, places
  )
