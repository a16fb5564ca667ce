"""A published checkpoint's hyper-parameters to and from our configurations."""

import argparse
from collections.abc import Mapping

import numpy as np

from videogpt_jax.models.prior import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig

Tensors = Mapping[str, np.ndarray]


def vqvae_config(args: argparse.Namespace) -> VQVAEConfig:
  """Reads a VQ-VAE's configuration from its checkpoint's arguments.

  Raises:
    ValueError: an argument is missing.
  """
  names = ('embedding_dim', 'n_codes', 'n_hiddens', 'n_res_layers')
  sizes = {name: argument(args, name) for name in names}
  return VQVAEConfig(**sizes, downsample=tuple(argument(args, 'downsample')))


def prior_config(args: argparse.Namespace, tensors: Tensors) -> PriorConfig:
  """Reads a prior's configuration from its checkpoint's arguments, and its ResNet's from shapes."""
  n_cond_frames = argument(args, 'n_cond_frames')
  resnet = {}
  if n_cond_frames:
    is_34 = 'resnet.group1.blocks.1.conv1.weight' in tensors
    n_channels = _shape(tensors, 'resnet.group4.start_block.conv1.weight')[0]
    resnet = {'resnet_depth': 34 if is_34 else 18, 'resnet_dim': n_channels}
  hidden_dim = argument(args, 'hidden_dim')
  mlp_dim = _shape(tensors, 'attn_stack.attn_nets.0.fc_block.0.weight')[0]
  return PriorConfig(
    hidden_dim=hidden_dim,
    n_heads=argument(args, 'heads'),
    n_layers=argument(args, 'layers'),
    mlp_dim=0 if mlp_dim == 4 * hidden_dim else mlp_dim,
    dropout=argument(args, 'dropout'),
    attn_dropout=argument(args, 'attn_dropout'),
    attn_type=argument(args, 'attn_type'),
    n_classes=argument(args, 'class_cond_dim') if argument(args, 'class_cond') else 0,
    n_cond_frames=n_cond_frames,
    **resnet,
  )


def embedded_vqvae_config(args: argparse.Namespace, tensors: Tensors) -> VQVAEConfig:
  """Infers the configuration of a prior's VQ-VAE, which the prior's checkpoint does not state.

  Sizes are those of the tensors. The down-sampling is what lies between a clip and the prior's
  position tables, which have one entry for each latent frame, row and column.

  Args:
    args: of the prior.
    tensors: the prior's state dict, the VQ-VAE's part under `vqvae.`.
  Raises:
    ValueError: a tensor that is looked at is missing, or the down-sampling is not whole.
  """
  clip = (argument(args, 'sequence_length'), *(argument(args, 'resolution'),) * 2)
  grid = tuple(_shape(tensors, f'attn_stack.pos_embd.emb.d_{axis}')[0] for axis in range(3))
  if any(size % n for size, n in zip(clip, grid, strict=True)):
    raise ValueError(
      f'the position tables have {grid} entries, which do not divide a clip of {clip} frames, rows '
      'and columns; is this the checkpoint of a VideoGPT prior?'
    )
  n_blocks = sum(
    name.startswith('vqvae.encoder.res_stack.') and name.endswith('.block.0.weight')
    for name in tensors
  )
  n_codes, embedding_dim = _shape(tensors, 'vqvae.codebook.embeddings')
  return VQVAEConfig(
    embedding_dim=embedding_dim,
    n_codes=n_codes,
    n_hiddens=_shape(tensors, 'vqvae.encoder.conv_last.conv.weight')[0],
    n_res_layers=n_blocks,
    downsample=tuple(size // n for size, n in zip(clip, grid, strict=True)),
  )


def vqvae_args(config: VQVAEConfig, sequence_length: int, resolution: int) -> argparse.Namespace:
  """Returns the arguments that the published code builds this VQ-VAE from.

  Raises:
    ValueError: it cannot.
  """
  published = VQVAEConfig()
  faults = _differences(config, published, ('axial_attention', 'n_codebooks', 'n_heads'))
  if max(config.downsample) == 2:
    faults.append(f'downsample {config.downsample} (the published code needs a factor of 4)')
  _refuse('VQ-VAE', faults)
  return argparse.Namespace(
    embedding_dim=config.embedding_dim,
    n_codes=config.n_codes,
    n_hiddens=config.n_hiddens,
    n_res_layers=config.n_res_layers,
    downsample=config.downsample,
    sequence_length=sequence_length,
    resolution=resolution,
  )


def prior_args(config: PriorConfig, codes: CodeSpec, vqvae: str) -> argparse.Namespace:
  """Returns the arguments that the published code builds this prior from.

  Args:
    config: of the prior.
    codes: that it models.
    vqvae: path of the VQ-VAE's checkpoint, which the published code opens first.
  Raises:
    ValueError: it cannot.
  """
  published = PriorConfig()
  fixed = ['action_dim', 'positions', 'qk_norm', 'norm', 'mlp']
  fixed += ['attn_block', 'n_local_blocks'] if config.attn_type == 'sparse' else []
  fixed += ['resnet_depth', 'resnet_dim'] if config.n_cond_frames else []
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
    resolution=codes.resolution,
  )


def argument(args: argparse.Namespace, name: str):
  """Returns one argument of a checkpoint; ValueError where it is missing."""
  if not hasattr(args, name):
    raise ValueError(f"the checkpoint's arguments lack {name!r}; they have {sorted(vars(args))}")
  return getattr(args, name)


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
  if name not in tensors:
    raise ValueError(f'{name} is missing; is this the checkpoint of a VideoGPT prior?')
  return tensors[name].shape


def _differences(config, published, names) -> list[str]:
  return [
    f'{name} {getattr(config, name)} (not {getattr(published, name)})'
    for name in names
    if getattr(config, name) != getattr(published, name)
  ]


def _refuse(model: str, faults: list[str]):
  if faults:
    raise ValueError(
      f'the published code cannot hold this {model}: {", ".join(faults)}; '
      'only a model with its fixed sizes can be exported'
    )
