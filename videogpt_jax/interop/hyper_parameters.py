"""Conversion between a published checkpoint's hyper-parameters and our configurations."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig

Tensors = Mapping[str, np.ndarray]


def vqvae_config(args: argparse.Namespace) -> VQVAEConfig:
  """Reads a VQ-VAE's configuration from its checkpoint's arguments.

  Raises:
    UserError: an argument is missing, or of another type or impossible.
  """
  names = ('embedding_dim', 'n_codes', 'n_hiddens', 'n_res_layers', 'downsample')
  return typed.build(VQVAEConfig, {name: argument(args, name) for name in names}, 'vqvae')


def prior_config(args: argparse.Namespace, tensors: Tensors) -> PriorConfig:
  """Reads a prior's configuration from its checkpoint's arguments and tensor shapes."""
  n_cond_frames = argument(args, 'n_cond_frames', int)
  resnet = {}
  if n_cond_frames:
    is_34 = 'resnet.group1.blocks.1.conv1.weight' in tensors
    n_channels = _shape(tensors, 'resnet.group4.start_block.conv1.weight')[0]
    resnet = {'resnet_depth': 34 if is_34 else 18, 'resnet_dim': n_channels}
  hidden_dim, attn_type = argument(args, 'hidden_dim', int), argument(args, 'attn_type', str)
  mlp_dim = _shape(tensors, 'attn_stack.attn_nets.0.fc_block.0.weight')[0]
  settings = {
    'hidden_dim': hidden_dim,
    'n_heads': argument(args, 'heads'),
    'n_layers': argument(args, 'layers'),
    'mlp_dim': 0 if mlp_dim == 4 * hidden_dim else mlp_dim,
    'dropout': argument(args, 'dropout'),
    # The published sparse attention takes this argument and has no dropout.
    'attn_dropout': 0.0 if attn_type == 'sparse' else argument(args, 'attn_dropout'),
    'attn_type': attn_type,
    'n_classes': argument(args, 'class_cond_dim') if argument(args, 'class_cond', bool) else 0,
    'n_cond_frames': n_cond_frames,
  }
  return typed.build(PriorConfig, settings | resnet, 'prior')


def embedded_vqvae_config(args: argparse.Namespace, tensors: Tensors) -> VQVAEConfig:
  """Infers the configuration of a prior's VQ-VAE, which the prior's checkpoint does not state.

  Sizes are those of the tensors. The down-sampling is the ratio of the clip's size to the lengths
  of the prior's position tables, which have one entry for each latent frame, row and column.

  Args:
    args: of the prior.
    tensors: the prior's state dict, with the VQ-VAE under `vqvae.`.
  Raises:
    UserError: a tensor is missing, or the down-sampling is not an integer.
  """
  clip = (argument(args, 'sequence_length', int), *(argument(args, 'resolution', int),) * 2)
  grid = tuple(_shape(tensors, f'attn_stack.pos_embd.emb.d_{axis}')[0] for axis in range(3))
  if not all(grid) or any(size % n for size, n in zip(clip, grid, strict=True)):
    raise UserError(
      f'the position tables have {grid} entries, which do not divide a clip of {clip} frames, rows '
      'and columns; is this the checkpoint of a VideoGPT prior?'
    )
  n_blocks = sum(
    name.startswith('vqvae.encoder.res_stack.') and name.endswith('.block.0.weight')
    for name in tensors
  )
  n_codes, embedding_dim = _shape(tensors, 'vqvae.codebook.embeddings', 2)
  sizes = {
    'embedding_dim': embedding_dim,
    'n_codes': n_codes,
    'n_hiddens': _shape(tensors, 'vqvae.encoder.conv_last.conv.weight')[0],
    'n_res_layers': n_blocks,
    'downsample': tuple(size // n for size, n in zip(clip, grid, strict=True)),
  }
  return typed.build(VQVAEConfig, sizes, 'vqvae')


def vqvae_args(config: VQVAEConfig, codes: CodeSpec) -> argparse.Namespace:
  """Returns the arguments that the published code builds this VQ-VAE from.

  Args:
    config: of the VQ-VAE.
    codes: of its clips.
  Raises:
    UserError: the published code has no such VQ-VAE.
  """
  published = VQVAEConfig()
  fixed = ['axial_attention', 'axial_positions', 'post_vq_kernel', 'n_codebooks', 'n_heads']
  fixed += ['quantizer', 'levels', 'bound', 'norm', 'time_padding', 'time_mask']
  fixed += ['time_window', 'first_frame_alone']
  faults = _differences(config, published, fixed)
  if config.residual_units != config.n_hiddens // 2:
    faults.append(f'residual_dim {config.residual_dim} (not {config.n_hiddens // 2})')
  if max(config.downsample) == 2:
    faults.append(f'downsample {config.downsample} (the published code needs a factor of 4)')
  height, width = codes.frame_size
  if height != width:
    faults.append(f'frames of {height}x{width} (the published code has square frames)')
  _refuse('VQ-VAE', faults)
  return argparse.Namespace(
    embedding_dim=config.embedding_dim,
    n_codes=config.n_codes,
    n_hiddens=config.n_hiddens,
    n_res_layers=config.n_res_layers,
    downsample=config.downsample,
    sequence_length=codes.sequence_length,
    resolution=height,
  )


def prior_args(config: PriorConfig, codes: CodeSpec, vqvae: str) -> argparse.Namespace:
  """Returns the arguments that the published code builds this prior from.

  Args:
    config: of the prior.
    codes: that it models, of square frames.
    vqvae: path of the VQ-VAE's checkpoint, which the published code opens first.
  Raises:
    UserError: the published code has no such prior.
  """
  published = PriorConfig()
  fixed = ['head_dim', 'attn_bias', 'attn_window', 'codebook_axis', 'action_dim', 'vector_dim']
  fixed += ['target', 'positions', 'qk_norm', 'norm', 'mlp', 'n_factors']
  fixed += ['attn_block', 'n_local_blocks'] if config.attn_type == 'sparse' else []
  fixed += ['resnet_depth', 'resnet_dim', 'resnet_grid'] if config.n_cond_frames else []
  faults = _differences(config, published, fixed)
  if config.mlp_dim not in (0, 4 * config.hidden_dim):
    faults.append(f'mlp_dim {config.mlp_dim} (not {4 * config.hidden_dim})')
  if config.hidden_dim % 3:
    faults.append(f'hidden_dim {config.hidden_dim} (not divisible by 3)')
  _refuse('prior', faults)
  return argparse.Namespace(
    vqvae=vqvae,
    n_cond_frames=config.n_cond_frames,
    class_cond=config.n_classes > 0,
    class_cond_dim=config.n_classes or None,
    hidden_dim=config.hidden_dim,
    heads=config.n_heads,
    layers=config.n_layers,
    dropout=config.dropout,
    attn_type=config.attn_type,
    attn_dropout=config.attn_dropout,
    sequence_length=codes.sequence_length,
    resolution=codes.frame_size[0],
  )


def argument(args: argparse.Namespace, name: str, hint: Any = Any) -> Any:
  """Returns one argument of a checkpoint, of a type if one is given, see `typed.read`.

  Raises:
    UserError: it is missing, or of another type.
  """
  if not isinstance(args, argparse.Namespace):
    raise UserError(f"the checkpoint's arguments are a {type(args).__name__}, not a Namespace")
  if not hasattr(args, name):
    raise UserError(f"the checkpoint's arguments lack {name!r}; they have {sorted(vars(args))}")
  value = getattr(args, name)
  return value if hint is Any else typed.read(value, hint, f'the argument {name}')


def _shape(tensors: Tensors, name: str, n_axes: int = 0) -> tuple[int, ...]:
  """Returns the shape of a tensor that has so many axes, or at least one."""
  if name not in tensors:
    raise UserError(f'{name} is missing; is this the checkpoint of a VideoGPT prior?')
  shape = tensors[name].shape
  if not shape or (n_axes and len(shape) != n_axes):
    raise UserError(f'{name} has shape {shape}; is this the checkpoint of a VideoGPT prior?')
  return shape


def _differences(config, published, names) -> list[str]:
  return [
    f'{name} {getattr(config, name)} (not {getattr(published, name)})'
    for name in names
    if getattr(config, name) != getattr(published, name)
  ]


def _refuse(model: str, faults: list[str]):
  if faults:
    raise UserError(
      f'the published code cannot hold this {model}: {", ".join(faults)}; '
      'export a model with its fixed options'
    )
