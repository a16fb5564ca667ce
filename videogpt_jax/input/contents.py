"""What a data set holds, and whether that is what a model or a stage needs."""

import dataclasses

from videogpt_jax.errors import UserError
from videogpt_jax.input import import_module
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.shards import load_manifest
from videogpt_jax.models.transformer import PriorConfig

# Formats of data/prepare.py and builders of TensorFlow Datasets that were never compressed.
_RAW_FORMATS = ('bair', 'bair_robot_pushing_small', 'moving_mnist', 'vizdoom')


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """Contents of a data set.

  Attributes:
    n_train, n_test: number of clips in each split.
    class_names: names of the classes, or None.
    action_dim: size of an action, or None.
    action_names: of the choices, where actions are one-hot; else ().
    frame_rate: frames a second of most clips, or 0 where it is unknown.
  """

  n_train: int
  n_test: int
  class_names: tuple[str, ...] | None = None
  action_dim: int | None = None
  frame_rate: float = dataclasses.field(default=0.0, compare=False)
  action_names: tuple[str, ...] = ()


def describe(config: DatasetConfig) -> DatasetInfo:
  """Returns what the data set holds.

  Raises:
    UserError: the data is missing, broken or contradictory.
  """
  train, test = open_clips(config, 'train'), open_clips(config, 'test')
  return DatasetInfo(
    train.n, test.n, train.class_names, train.action_dim, train.frame_rate, train.action_names
  )


def open_clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the clips of a split ('train', 'val' or 'test')."""
  return import_module(f'sources.{config.source}').clips(config, split)


def check_conditions(info: DatasetInfo, prior: PriorConfig):
  """Checks that a data set has what a prior is conditioned on (UserError)."""
  n_classes = len(info.class_names or ())
  if prior.n_classes not in (0, n_classes):
    raise UserError(
      f'prior.n_classes ({prior.n_classes}) must be 0 (unconditional) or the {n_classes} classes '
      'of the data set'
    )
  if prior.action_dim not in (0, info.action_dim or 0):
    raise UserError(
      f'prior.action_dim ({prior.action_dim}) must be 0 or the size of the actions in the data '
      f'set ({info.action_dim or 0})'
    )
  if prior.vector_dim:
    raise UserError(
      f'prior.vector_dim ({prior.vector_dim}): no data source has a vector a clip; call '
      "training.fit with batches that have one under 'vector', or set it to 0"
    )


def check_codes(path: str, n_cond_frames: int):
  """Checks that a directory holds codes with at least `n_cond_frames` first frames each.

  Raises:
    UserError: it does not.
  """
  manifest = load_manifest(path)
  if manifest.encoding != 'codes':
    raise UserError(f'prior_codes ({path}) holds video, not codes; make them with encode')
  n_stored = (manifest.made_from.get('first_frames_shape') or [0])[0]
  if n_stored < n_cond_frames:
    raise UserError(
      f'prior_codes ({path}) holds {n_stored} first frames, prior.n_cond_frames asks for '
      f'{n_cond_frames}; encode again with this configuration'
    )


def check_tokenizer(path: str, *, tokenizer_sha256: str, codebook_sha256: str):
  """Checks that the codes in a directory were made by this tokenizer.

  Args:
    path: directory of codes.
    tokenizer_sha256: digest of all of the tokenizer's weights.
    codebook_sha256: digest of its codebook, which codes of version 0.1 state instead.
  Raises:
    UserError: they were not.
  """
  made_from, key, wanted = load_manifest(path).made_from, 'tokenizer_sha256', tokenizer_sha256
  if key not in made_from:
    key, wanted = 'codebook_sha256', codebook_sha256
  found = made_from.get(key, 'unknown')
  if found != wanted:
    raise UserError(
      f'prior_codes {path} were made with another VQ-VAE ({key} {found[:12]}, not {wanted[:12]}); '
      'encode the data set with this one'
    )


def compression(config: DatasetConfig) -> str:
  """Returns the lossy compression that the clips went through, as far as known; '' if none."""
  if config.source == 'folder':
    return 'video files'
  if config.source == 'tfds':
    return '' if config.name.split('/')[0] in _RAW_FORMATS else 'video files'
  if config.source != 'tfrecord':
    return ''
  manifest = load_manifest(config.path)
  if manifest.encoding == 'jpeg':
    return 'JPEG frames'
  made_from = manifest.made_from.get('format')  # None in shards of other programs
  return '' if made_from in (None, *_RAW_FORMATS) else 'frames of video files'
