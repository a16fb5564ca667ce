"""An experiment: the sections of a configuration, typed and checked.

A file in configs/ fills an Experiment and hands it out as an ml_collections.ConfigDict, so that
every key can be overridden on the command line; `from_dict` turns that back. A key that no section
has stops the run.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation.protocols import EvaluationConfig
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.attention import strided_mask
from videogpt_jax.models.code_factors import code_factors
from videogpt_jax.models.conditioners import frames_grid
from videogpt_jax.models.rotary import rotary_angles
from videogpt_jax.models.spec import CodeSpec, code_spec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling import windows
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.sharding import MeshConfig
from videogpt_jax.training.trackers.config import TrackingConfig
from videogpt_jax.training.vqvae_loss import LossConfig

MOST_PREVIEWS = 64
"""Videos that an evaluation draws; they go through in one batch."""


@dataclasses.dataclass(frozen=True)
class Experiment:
  """All that defines a run.

  Attributes:
    name: also the workdir's, unless one is given.
    seed: of initialisation, order and sampling.
    deterministic: whether GPUs use deterministic operations only, so that a run repeats bit for
      bit; slower.
    prior_codes: directory of codes (`python -m videogpt_jax.encode`) that the prior trains on.
    prior_crops: random crops of each training clip that are encoded into the workdir before the
      prior trains on them; 0 encodes clips at every step.
    previews: videos that are drawn at each evaluation while the prior trains (previews.gif), under
      the conditions of held-out clips; 0 draws none.
  """

  name: str = 'experiment'
  seed: int = 0
  deterministic: bool = False
  prior_codes: str = ''
  prior_crops: int = 0
  previews: int = 0
  dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)
  vqvae: VQVAEConfig = dataclasses.field(default_factory=VQVAEConfig)
  vqvae_loss: LossConfig = dataclasses.field(default_factory=LossConfig)
  vqvae_training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
  prior: PriorConfig = dataclasses.field(default_factory=PriorConfig)
  prior_training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
  mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
  sample: SampleConfig = dataclasses.field(default_factory=SampleConfig)
  evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
  tracking: TrackingConfig = dataclasses.field(default_factory=TrackingConfig)

  def __post_init__(self):
    if not 0 <= self.previews <= MOST_PREVIEWS:
      raise UserError(f'previews ({self.previews}) must be in [0, {MOST_PREVIEWS}]')
    if self.prior_crops < 0 or (self.prior_crops and self.prior_codes):
      raise UserError(
        f'prior_crops ({self.prior_crops}) must not be negative, and 0 with prior_codes'
      )
    spec = self.codes
    code_factors(self.prior.n_factors, spec.digits)
    if self.prior.attn_type == 'sparse':
      strided_mask(spec.latent_shape, self.prior.attn_block, self.prior.n_local_blocks)
    if self.prior.positions == 'rotary':
      rotary_angles(spec.latent_shape, self.prior.head_size)
    if self.prior.n_cond_frames:
      frames_grid(self.prior, spec)
    if not self.prior.n_cond_frames <= spec.sequence_length:
      raise UserError(
        f'prior.n_cond_frames ({self.prior.n_cond_frames}) must not exceed '
        f'dataset.sequence_length ({spec.sequence_length})'
      )
    if self.prior.history:
      self.vqvae.check_streams()
    self._check_sampling(spec)

  def _check_sampling(self, spec: CodeSpec):
    sample = self.sample
    sample.check(spec.n_codes, self.prior)
    if sample.num_frames:
      windows.plan(spec, self.prior, sample.num_frames)
      if self.prior.action_dim and sample.num_frames > spec.sequence_length:
        raise UserError(
          f'sample.num_frames ({sample.num_frames}) must not exceed dataset.sequence_length '
          f'({spec.sequence_length}), since the actions of test clips end there; longer videos: '
          'python -m videogpt_jax.sample --actions=FILE'
        )

  @property
  def codes(self) -> CodeSpec:
    """The spec of the codes (UserError if the tokenizer does not divide the clips)."""
    return code_spec(self.vqvae, self.dataset.sequence_length, self.dataset.resolution)

  @property
  def prior_clips(self) -> DatasetConfig:
    """The data set that the prior trains on: longer clips where `prior.history` wants some."""
    history = self.prior.history * self.vqvae.time_grid.factor
    length = self.dataset.sequence_length + history
    return dataclasses.replace(self.dataset, sequence_length=length)

  @property
  def prior_on_codes(self) -> bool:
    """Whether the prior trains on stored codes."""
    return bool(self.prior_codes or self.prior_crops)

  def to_config_dict(self) -> ml_collections.ConfigDict:
    """Returns the ConfigDict that a file in configs/ hands out."""
    return ml_collections.ConfigDict(_to_dict(self))


def from_dict(values: Mapping[str, Any]) -> Experiment:
  """Returns the Experiment of a ConfigDict or of a workdir's config.json.

  Raises:
    UserError: a key is unknown, or a value of another type or impossible.
  """
  return typed.build(Experiment, values, 'config')


def _to_dict(section: Any) -> dict[str, Any]:
  """Nested dicts whose values accept what their hints allow, so that flags can set them."""
  hints = typing.get_type_hints(type(section))
  values = {}
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if dataclasses.is_dataclass(value):
      value = _to_dict(value)
    elif len(_kinds(hints[field.name])) > 1:  # ConfigDict would keep the type of today's value
      value = ml_collections.FieldReference(value, field_type=object)
    elif value is None:
      (kind,) = _kinds(hints[field.name])
      value = ml_collections.config_dict.placeholder(kind)
    values[field.name] = value
  return values


def _kinds(hint: Any) -> tuple[Any, ...]:
  """The types that a hint allows, without None."""
  kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
  return tuple(kind for kind in kinds if kind is not types.NoneType)
