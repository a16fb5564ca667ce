"""The programs of an experiment, on devices that need not exist: nothing here is computed."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax import programs
from videogpt_jax.config import Experiment
from videogpt_jax.loading import abstract_vqvae
from videogpt_jax.models.attention.schedule import make_schedule
from videogpt_jax.models.conditioners import shapes
from videogpt_jax.models.prior import Prior, attention_mask
from videogpt_jax.models.trained import trained
from videogpt_jax.sampling import windows
from videogpt_jax.sampling.strategies import strategy_for
from videogpt_jax.stages.shapes import stage_of
from videogpt_jax.training.fit import on_devices
from videogpt_jax.training.sharding import BATCH, check_batch, check_prior, on_mesh, shardings

STAGES = ('vqvae', 'prior', 'sample')

LATER = 'sample_later'
"""The sampler of the clips after the first, in videos that are longer than a clip."""


@dataclasses.dataclass(frozen=True)
class Step:
  """A program and its arguments.

  Attributes:
    name: one of `STAGES`.
    experiment: its configuration.
    batch_size: clips per step, over all devices.
    shares: the batch size is a multiple of it.
    mesh: the devices.
    parts: the arguments by meaning, as shapes with shardings: 'parameters', 'optimiser state', ...
    lower: traces the program.
    runs: how often it runs.
    then: another program that belongs to the step, the sampler of later clips, or None.
    unit: what `batch_size` counts.
  """

  name: str
  experiment: Experiment
  batch_size: int
  shares: int
  mesh: Mesh
  parts: dict[str, Any]
  lower: Callable[[], jax.stages.Lowered]
  runs: int = 1
  then: 'Step | None' = None
  unit: str = 'clips'

  def part_bytes(self) -> dict[str, int]:
    """Returns the bytes of each part on one device."""
    return {name: bytes_per_device(part) for name, part in self.parts.items()}

  def attention(self) -> tuple[float, float]:
    """Returns which share of self-attention's scores the mask admits, and how many steps a chunk
    of blockwise attention takes on average: a loop whose trip count is data."""
    grid = self.experiment.codes.latent_shape
    L, mask = math.prod(grid), attention_mask(self.experiment.prior, grid)
    admitted = (L + 1) / (2 * L) if mask.layout is None else float(mask.layout.mean())
    return admitted, float(on_mesh(make_schedule, self.mesh)(L, L, mask).steps.mean())


def bytes_per_device(tree: Any) -> int:
  """Returns the bytes that one device holds of shapes with shardings."""

  def size(leaf) -> int:
    key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * (8 if key else leaf.dtype.itemsize)

  return sum(map(size, jax.tree.leaves(tree)))


def make_step(name: str, experiment: Experiment, mesh: Mesh, batch_size: int | None = None) -> Step:
  """Returns one of the experiment's programs.

  Args:
    name: one of `STAGES`, or `LATER`.
    experiment: its configuration.
    mesh: the devices.
    batch_size: clips per step; None takes the configuration's.
  Raises:
    UserError: the mesh cannot share out the batch, the heads or the positions.
  """
  check_prior(experiment.prior.n_heads, math.prod(experiment.codes.latent_shape), mesh)
  if name in ('sample', LATER):
    return _sampler(name, experiment, mesh, batch_size or experiment.sample.num)
  stage, training = stage_of(name, experiment)
  training = dataclasses.replace(training, batch_size=batch_size or training.batch_size)
  check_batch(training.batch_size, mesh, training.grad_accum_steps, f'{name}_training')
  state, step_fn = on_devices(stage, training, mesh)
  key = jax.eval_shape(lambda: jax.random.key(0))
  whole = lambda leaf: placed(leaf, NamedSharding(mesh, P()))
  frozen, key = jax.tree.map(whole, (stage.frozen, key))
  batch = _batch(_clips(name, experiment), training.batch_size, mesh)
  parts = {
    'parameters': state.params,
    'optimiser state': state.opt_state,
    'averaged parameters': (state.ema_params, state.ema_variables),
    'batch statistics and codebook': state.variables,
    'frozen tokenizer': frozen,
    'batch': batch,
  }
  shares = mesh.shape['data'] * mesh.shape['fsdp'] * training.grad_accum_steps
  lower = lambda: step_fn.lower(state, frozen, batch, key)
  return Step(name, experiment, training.batch_size, shares, mesh, parts, lower)


def _sampler(name: str, experiment: Experiment, mesh: Mesh, batch_size: int) -> Step:
  """The loop that draws the codes of a clip, and for longer videos the one of later clips, whose
  first codes are given; networks are sharded as in training.

  Speculative decoding is planned as sequential: how many passes it takes depends on the codes.
  """
  shares = mesh.shape['data'] * mesh.shape['fsdp']
  n, spec, settings = -(-batch_size // shares) * shares, experiment.codes, experiment.sample
  prior = trained(nnx.eval_shape(lambda: Prior(experiment.prior, spec, rngs=nnx.Rngs(0))))
  networks = prior, abstract_vqvae(experiment)
  prior, tokenizer = (jax.tree.map(placed, part, shardings(part, mesh)) for part in networks)
  frames = settings.num_frames or spec.sequence_length
  plan = windows.plan(spec, experiment.prior, frames)
  n_clips, n_given = len(plan.starts), plan.shared_latents * math.prod(spec.latent_shape[1:])
  given = jax.ShapeDtypeStruct((n_given,), jnp.int32) if name == LATER else None
  clips = jax.ShapeDtypeStruct((2,), jnp.uint32), shapes(experiment.prior, spec), given
  keys, conditions, given = _batch(clips, n, mesh)
  strategy = strategy_for(settings.strategy, experiment.prior)
  planned = 'sequential' if strategy == 'speculative' else strategy
  how = {'strategy': planned, 'passes': settings.passes, 'mesh': mesh}
  lower = lambda: programs.draw.lower(
    prior, tokenizer, keys, settings.controls, conditions, given, **how
  )
  parts = {'parameters': prior, 'batch': (keys, conditions, given)}
  step = Step(name, experiment, n, shares, mesh, parts, lower)
  if name == LATER:
    return dataclasses.replace(step, runs=settings.best_of * (n_clips - 1))
  alike = n_clips if not n_given else 1  # conditioned on frames alone, later clips are as the first
  then = _sampler(LATER, experiment, mesh, n) if n_clips > alike else None
  unit = f'videos of {n_clips} clips' if n_clips > 1 else 'clips'
  unit += f', best of {settings.best_of}' if settings.best_of > 1 else ''
  unit += '' if strategy == planned else ', as if drawn sequentially'
  return dataclasses.replace(step, runs=settings.best_of * alike, then=then, unit=unit)


def _clips(name: str, experiment: Experiment) -> dict[str, jax.ShapeDtypeStruct]:
  """What a training step uses of the input pipeline, for one clip."""
  spec = experiment.codes
  clips = experiment.dataset if name == 'vqvae' else experiment.prior_clips
  shape = clips.sequence_length, *spec.clip_shape[1:]
  video = {'video': jax.ShapeDtypeStruct(shape, clips.batch_dtype)}
  if name == 'vqvae':
    return video
  conditions = shapes(experiment.prior, spec).items()
  named = {'label' if name == 'class_label' else name: clip for name, clip in conditions}
  frames = named.pop('frames', None)
  if experiment.prior_on_codes:
    video = {'codes': jax.ShapeDtypeStruct(spec.latent_shape, jnp.int32)}
    if frames is not None:
      video['video'] = jax.ShapeDtypeStruct(frames.shape, jnp.uint8)
  elif actions := named.get('actions'):
    shape = clips.sequence_length, *actions.shape[1:]
    named['actions'] = jax.ShapeDtypeStruct(shape, actions.dtype)
  return named | video


def _batch(clips: Any, n: int, mesh: Mesh) -> Any:
  rows = jax.tree.map(lambda a: jax.ShapeDtypeStruct((n, *a.shape), a.dtype), clips)
  return jax.tree.map(lambda a: placed(a, NamedSharding(mesh, BATCH)), rows)


def placed(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
  """Returns an array's shape with a sharding."""
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
