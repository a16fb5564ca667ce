"""Conditioners: turn conditions by name into what the prior's blocks use.

Conditions are one dict by name, from the data to the sampler: `class_label`, `frames`, `actions`,
`vector`. A conditioner turns each of them into vectors for the norms, entries for cross-attention,
or both.

Axis letters: B batch; T H W frames, height, width; t latent frames; C size of the norms' condition,
n of these a clip; S entries of the memory, M their size.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.models.layers import PositionEmbedding
from videogpt_jax.models.resnet import ResNet, check_grid, has_large_stem
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig

Array = jax.Array | np.ndarray

Conditions = Mapping[str, Array]
"""Values by the names of `CONDITIONERS`, each [B ...]."""

RESNET_STRIDE = 4
"""By which the frames' network shrinks height and width."""


class Condition(NamedTuple):
  """The condition of each clip, as the prior's blocks use it.

  Attributes:
    norm: [B n C] for the norms; entry i holds for the i-th of n equal runs of codes; or None.
    memory: [B S M], what cross-attention attends to; or None.
  """

  norm: jax.Array | None = None
  memory: jax.Array | None = None

  def drop(self, rate: float, key: jax.Array) -> 'Condition':
    """Replaces the whole condition of a clip by zeros with probability `rate`."""

    def drop_rows(part):
      keep = jax.random.bernoulli(key, 1 - rate, (len(part), 1, 1))  # the same for every part
      return jnp.where(keep, part, jnp.zeros((), part.dtype))

    return jax.tree.map(drop_rows, self)


class Conditioner(nnx.Module):
  """One kind of condition. A subclass says when a prior wants it, its shape, and what it gives.

  Attributes:
    norm_dim: size of its part of the norms' condition; 0 gives none.
    memory_dim: size of its memory's entries; 0 gives none.
  """

  norm_dim = 0
  memory_dim = 0
  dtype = np.float32

  @staticmethod
  def wanted(config: PriorConfig) -> bool:
    """Whether a prior of this configuration is conditioned so."""
    raise NotImplementedError

  @staticmethod
  def shape(config: PriorConfig, spec: CodeSpec) -> tuple[int, ...]:
    """Shape of a clip's value."""
    raise NotImplementedError

  @staticmethod
  def from_batch(batch: Mapping[str, Array], config: PriorConfig) -> Array:
    """Takes the values from a batch of the input pipeline."""
    raise NotImplementedError

  def __init__(self, config: PriorConfig, spec: CodeSpec, *, rngs: nnx.Rngs):
    del config, spec, rngs

  def __call__(self, value: jax.Array) -> Condition:
    """Returns the part of the condition that values [B ...] give."""
    raise NotImplementedError

  def latent_frame(self, value: jax.Array) -> Condition:
    """Returns the same for a single latent frame of an endless stream."""
    return self(value)


class ClassConditioner(Conditioner):
  """One-hot classes for the norms."""

  dtype = np.int32

  wanted = staticmethod(lambda config: config.n_classes > 0)
  shape = staticmethod(lambda config, spec: ())
  from_batch = staticmethod(lambda batch, config: batch['label'])

  def __init__(self, config: PriorConfig, spec: CodeSpec, *, rngs: nnx.Rngs):
    self.norm_dim = config.n_classes

  def __call__(self, value: jax.Array) -> Condition:
    return Condition(norm=jax.nn.one_hot(value, self.norm_dim)[:, None])


def frames_grid(config: PriorConfig, spec: CodeSpec) -> tuple[int, ...]:
  """Returns (t, h, w) of the features of the conditioning frames.

  Raises:
    UserError: the network cannot make it of them.
  """
  frames = (config.n_cond_frames, *spec.frame_size)
  if config.resnet_grid:
    check_grid(config.resnet_grid, frames)
    return config.resnet_grid
  for size in spec.frame_size:
    if size % RESNET_STRIDE:
      raise UserError(
        f'frame conditioning needs a resolution ({spec.resolution}) divisible by '
        f'{RESNET_STRIDE}; use {max(size // RESNET_STRIDE, 1) * RESNET_STRIDE}'
      )
  return (config.n_cond_frames, *(size // RESNET_STRIDE for size in spec.frame_size))


class FramesConditioner(Conditioner):
  """A ResNet's features of the first frames, with position embeddings, for cross-attention."""

  wanted = staticmethod(lambda config: config.n_cond_frames > 0)
  shape = staticmethod(lambda config, spec: (config.n_cond_frames, *spec.frame_size, 3))
  from_batch = staticmethod(lambda batch, config: batch['video'][:, : config.n_cond_frames])

  def __init__(self, config: PriorConfig, spec: CodeSpec, *, rngs: nnx.Rngs):
    self.memory_dim, self.compute_dtype = config.resnet_dim, config.dtype
    frames = (config.n_cond_frames, *spec.frame_size)
    grid = frames_grid(config, spec)
    self.resnet = ResNet(
      config.resnet_depth,
      config.resnet_dim,
      tuple(n // m for n, m in zip(frames, grid, strict=True)),
      large_stem=bool(config.resnet_grid) and has_large_stem(frames),
      rngs=rngs,
    )
    self.positions = PositionEmbedding(grid, config.resnet_dim, rngs=rngs)

  def __call__(self, value: jax.Array) -> Condition:
    memory = self.resnet(value.astype(self.compute_dtype))
    memory = memory + self.positions().astype(memory.dtype)
    return Condition(memory=rearrange(memory, 'B ... M -> B (...) M'))


class ActionsConditioner(Conditioner):
  """The actions of a clip, for the norms; `prior.action_form` says which actions reach a code.

  Action i moves frame i to frame i + 1.

  before: those that lead to the frames of its latent frame; none leads to the first frame.
  during: those that begin at these frames, so that the one that leads to the first of them lacks.
  clip: all actions of the clip, as one vector (table 9: 64 = 16 frames x 4 for BAIR).
  """

  wanted = staticmethod(lambda config: config.action_dim > 0)
  shape = staticmethod(lambda config, spec: (spec.sequence_length, config.action_dim))
  from_batch = staticmethod(lambda batch, config: batch['actions'])

  def __init__(self, config: PriorConfig, spec: CodeSpec, *, rngs: nnx.Rngs):
    self.form, self.t, self.factor = config.action_form, spec.latent_shape[0], spec.time_grid.factor
    n_actions = spec.sequence_length if self.form == 'clip' else self.factor
    self.norm_dim = config.action_dim * n_actions

  def __call__(self, value: jax.Array) -> Condition:
    if self.form == 'clip':
      return Condition(norm=rearrange(value, 'B T A -> B 1 (T A)'))
    if self.form == 'before':
      value = jnp.pad(value[:, :-1], [(0, 0), (1, 0), (0, 0)])
    # A first latent frame that covers fewer frames than the others is filled up with zeros.
    missing = self.t * self.factor - value.shape[1]
    value = jnp.pad(value, [(0, 0), (missing, 0), (0, 0)])
    return Condition(norm=rearrange(value, 'B (t f) A -> B t (f A)', t=self.t))

  def latent_frame(self, value: jax.Array) -> Condition:
    """Takes the actions [B f A] that lead to the latent frame's f frames: the form is 'before'."""
    return Condition(norm=rearrange(value, 'B f A -> B 1 (f A)'))


class VectorConditioner(Conditioner):
  """A real vector a clip for the norms, as VideoGPT-Paper takes classes and actions."""

  wanted = staticmethod(lambda config: config.vector_dim > 0)
  shape = staticmethod(lambda config, spec: (config.vector_dim,))
  from_batch = staticmethod(lambda batch, config: batch['vector'])

  def __init__(self, config: PriorConfig, spec: CodeSpec, *, rngs: nnx.Rngs):
    self.norm_dim = config.vector_dim

  def __call__(self, value: jax.Array) -> Condition:
    return Condition(norm=value[:, None])


CONDITIONERS: dict[str, type[Conditioner]] = {
  'class_label': ClassConditioner,
  'frames': FramesConditioner,
  'actions': ActionsConditioner,
  'vector': VectorConditioner,
}
"""Every kind of condition, by its name in `Conditions`; parts of the norms come in this order."""


def wanted(config: PriorConfig) -> dict[str, type[Conditioner]]:
  """Returns the conditioners of a prior, by name."""
  return {name: kind for name, kind in CONDITIONERS.items() if kind.wanted(config)}


def shapes(config: PriorConfig, spec: CodeSpec) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns shape and type of a clip's value for each condition of a prior, by name."""
  return {
    name: jax.ShapeDtypeStruct(kind.shape(config, spec), kind.dtype)
    for name, kind in wanted(config).items()
  }


def from_batch(batch: Mapping[str, Array], config: PriorConfig) -> Conditions:
  """Takes from a batch of the input pipeline what a prior is conditioned on."""
  return {name: kind.from_batch(batch, config) for name, kind in wanted(config).items()}


def check_conditions(conditions: Conditions, config: PriorConfig, spec: CodeSpec):
  """Refuses conditions that are missing, superfluous or of another shape (UserError)."""
  expected = shapes(config, spec)
  for name in CONDITIONERS:
    value = conditions.get(name)
    if value is None and name in expected:
      text = axes(expected[name].shape)
      raise UserError(f'this prior is conditioned on {name}; give {name}, shape {text}')
    if value is not None and name not in expected:
      raise UserError(f'this prior is not conditioned on {name}; leave {name} out')
    if value is not None and np.shape(value)[1:] != expected[name].shape:
      raise UserError(
        f'{name} has shape {list(np.shape(value))}; this prior takes {axes(expected[name].shape)}'
      )
  if unknown := [name for name in conditions if name not in CONDITIONERS]:
    raise UserError(f'unknown conditions {unknown}; conditions are {", ".join(CONDITIONERS)}')


def axes(shape: tuple[int, ...], first: str = 'n') -> str:
  """Returns a shape as a reader writes it: '[n, 16, 64, 64, 3]'."""
  return f'[{", ".join([first, *map(str, shape)])}]'


class Conditioners(nnx.Module):
  """All conditioners of a prior.

  Attributes:
    norm_dim: C, 0 without any for the norms.
    memory_dim: M, 0 without any memory.
  """

  def __init__(self, config: PriorConfig, spec: CodeSpec, *, rngs: nnx.Rngs):
    self.config, self.spec = config, spec
    self.names = tuple(wanted(config))
    for name, kind in wanted(config).items():
      setattr(self, name, kind(config, spec, rngs=rngs))
    parts = [getattr(self, name) for name in self.names]
    self.norm_dim = sum(part.norm_dim for part in parts)
    sizes = {part.memory_dim for part in parts} - {0}
    if len(sizes) > 1:
      raise UserError(f'memories of several sizes ({sorted(sizes)}) cannot share cross-attention')
    self.memory_dim = max(sizes, default=0)

  def __call__(self, conditions: Conditions) -> Condition:
    """Returns the condition that the blocks use.

    Raises:
      UserError: a condition is missing, superfluous or of another shape.
    """
    check_conditions(conditions, self.config, self.spec)
    return _joined([getattr(self, name)(conditions[name]) for name in self.names])

  def latent_frame(self, conditions: Conditions) -> Condition:
    """Returns the condition of a single latent frame of an endless stream.

    Args:
      conditions: as for a clip, but `actions` are [B f A], those that lead to its f frames.
    """
    return _joined([getattr(self, name).latent_frame(conditions[name]) for name in self.names])


def _joined(parts: list[Condition]) -> Condition:
  """Joins parts of the norms' condition channel by channel, and memories one after the other."""
  norms = [part.norm for part in parts if part.norm is not None]
  memories = [part.memory for part in parts if part.memory is not None]
  n = max((norm.shape[1] for norm in norms), default=0)
  norms = [jnp.broadcast_to(norm, (len(norm), n, norm.shape[2])) for norm in norms]
  return Condition(
    jnp.concatenate(norms, axis=-1) if norms else None,
    jnp.concatenate(memories, axis=1) if memories else None,
  )
