"""Checkpoints of VideoGPT-Paper (`.pth.tar`), converted to our configurations and states.

A file states its hyper-parameters under `hp`. A prior's file names the file of its VQ-VAE, and the
prior is nothing without it. The optimiser's state and the data set's settings are not read.

Source: github.com/wilson1yan/VideoGPT-Paper at f4579d1.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.interop import paper_names
from videogpt_jax.interop.contents import (
  Published,
  Tensors,
  checked_tensors,
  prior_state,
  vqvae_state,
)
from videogpt_jax.models.convolutions import Size3
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig


def is_paper(checkpoint: Any) -> bool:
  """Whether a checkpoint that was read from a file is of this code."""
  return isinstance(checkpoint, Mapping) and {'state_dict', 'hp'} <= checkpoint.keys()


def from_checkpoint(checkpoint: Mapping[str, Any], vqvae_of: Callable[[str], Any]) -> Published:
  """Converts a checkpoint.

  Args:
    checkpoint: of a VQ-VAE or of a prior.
    vqvae_of: reads the checkpoint of the VQ-VAE that a prior names.
  Raises:
    UserError: a hyper-parameter or tensor is missing or does not fit, or there is no such VQ-VAE.
  """
  tensors, hp = checked_tensors(checkpoint['state_dict']), checkpoint['hp']
  step = typed.read(checkpoint.get('iteration', 0), int, "the checkpoint's iteration")
  if not _is_prior(tensors):
    return _vqvae(tensors, hp, step)
  named = parameter(checkpoint, 'vqvae_ckpt', str)
  found = vqvae_of(named)
  if not is_paper(found) or _is_prior(checked_tensors(found['state_dict'])):
    raise UserError(f'{named}, which it names, is no VQ-VAE of VideoGPT-Paper')
  vqvae = _vqvae(checked_tensors(found['state_dict']), found['hp'], step)
  config = prior_config(hp, parameter(checkpoint, 'cond_hp', dict), tensors)
  _check_fit(hp, vqvae.codes)
  table = paper_names.prior_table(config, vqvae.codes)
  state = prior_state(config, vqvae.codes, table, tensors)
  return dataclasses.replace(vqvae, prior=config, prior_state=state)


def _is_prior(tensors: Tensors) -> bool:
  return any(name.startswith('attn_model.') for name in tensors)


def _vqvae(tensors: Tensors, hp: Mapping[str, Any], step: int) -> Published:
  config = vqvae_config(hp)
  length, height, width = parameter(hp, 'input_shape', Size3)
  size = height if height == width else (height, width)
  grid = config.latent_shape(length, size)
  state, counters = vqvae_state(config, grid, paper_names.vqvae_table(config), tensors)
  return Published(config, state, length, size, counters=counters, step=step)


def vqvae_config(hp: Mapping[str, Any]) -> VQVAEConfig:
  """Reads a VQ-VAE's configuration (UserError if a hyper-parameter is missing)."""
  n_codebooks, attention = parameter(hp, 'n_codebooks', int), parameter(hp, 'use_attn', bool)
  settings = {
    'embedding_dim': n_codebooks * parameter(hp, 'embedding_dim', int),
    'n_codes': parameter(hp, 'codes_per_book'),
    'n_codebooks': n_codebooks,
    'n_hiddens': parameter(hp, 'num_hiddens'),
    'n_res_layers': parameter(hp, 'num_residual_layers'),
    'residual_dim': parameter(hp, 'num_residual_hiddens'),
    'downsample': parameter(hp, 'downsample'),
    'axial_attention': attention,
    'axial_positions': attention,
    'post_vq_kernel': 3,
    'n_heads': parameter(hp, 'attn_n_heads'),
  }
  return typed.build(VQVAEConfig, settings, 'vqvae')


def prior_config(
  hp: Mapping[str, Any], cond_hp: Mapping[str, Any], tensors: Tensors
) -> PriorConfig:
  """Reads a prior's configuration.

  Args:
    hp: its hyper-parameters.
    cond_hp: those of its conditions.
    tensors: its state dict, whose shapes tell the number of classes.
  Raises:
    UserError: a hyper-parameter is missing, or impossible here.
  """
  attention = parameter(hp, 'attn_kwargs', dict)
  sparse = {'attn_block': 'block', 'n_local_blocks': 'num_local_blocks'}
  conditions = {}
  if parameter(cond_hp, 'class_cond', bool):
    norm = parameter(tensors, 'norm.w.weight')
    if norm.ndim != 2:
      raise UserError(f'norm.w.weight has shape {norm.shape}, not [units, classes]')
    conditions['n_classes'] = norm.shape[1]
  if n_cond_frames := parameter(cond_hp, 'n_cond_frames', int):
    frames = parameter(cond_hp, 'cond_init_configs', dict)
    if (width := frames.get('width_multiplier', 1)) != 1:
      raise UserError(f'width_multiplier {width} of its frame encoder must be 1')
    conditions |= {
      'n_cond_frames': n_cond_frames,
      'resnet_depth': parameter(frames, 'resnet_depth'),
      'resnet_dim': parameter(frames, 'resnet_dim'),
      'resnet_grid': parameter(frames, 'resnet_output_shape'),
    }
  settings = {
    'hidden_dim': parameter(hp, 'out_features'),
    'n_heads': parameter(hp, 'n_head'),
    'n_layers': parameter(hp, 'n_layer'),
    'head_dim': parameter(hp, 'proj_dim'),
    'attn_bias': False,
    'mlp_dim': parameter(hp, 'ff_mult', int) * parameter(hp, 'out_features', int),
    'dropout': parameter(hp, 'dropout'),
    'attn_dropout': attention.get('attn_dropout', 0.0),
    'attn_type': parameter(hp, 'attn_type'),
    'codebook_axis': True,
    'remat': 'full' if hp.get('checkpoint') else 'none',
  }
  settings |= {ours: attention[theirs] for ours, theirs in sparse.items() if theirs in attention}
  return typed.build(PriorConfig, settings | conditions, 'prior')


def parameter(values: Any, name: str, hint: Any = Any) -> Any:
  """Returns one hyper-parameter or tensor, of a type if one is given, see `typed.read`.

  Raises:
    UserError: it is missing, or of another type.
  """
  if not isinstance(values, Mapping):
    raise UserError(f'the checkpoint has a {type(values).__name__} in place of those with {name!r}')
  if name not in values:
    raise UserError(f'the checkpoint lacks {name!r} among {sorted(map(str, values))}')
  return values[name] if hint is Any else typed.read(values[name], hint, name)


def _check_fit(hp: Mapping[str, Any], codes: CodeSpec):
  """Refuses a VQ-VAE whose codes are not those that the prior was trained on (UserError)."""
  shape = codes.latent_shape if len(codes.latent_shape) == 4 else (*codes.latent_shape, 1)
  theirs = (
    parameter(hp, 'shape', tuple[int, ...]),
    parameter(hp, 'n_vocab'),
    parameter(hp, 'in_features'),
  )
  ours = shape, codes.n_codes, codes.embedding_dim
  if theirs != ours:
    raise UserError(
      'the prior and the VQ-VAE that it names do not fit: latent shape, codes and their size are '
      f'{theirs} and {ours}'
    )
