"""Published VideoGPT checkpoints, converted to our configurations and states, and back.

Files of the other published code, VideoGPT-Paper, are recognised and handed to `paper`.

A VQ-VAE's file states its hyper-parameters. A prior's file contains its VQ-VAE under `vqvae.`, but
states only the prior's hyper-parameters. Files also repeat the causal mask for every layer, which
is checked and recomputed, and count the steps of every batch norm, which are preserved.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.interop import hyper_parameters, names, paper, state_dict
from videogpt_jax.interop.contents import (
  Published,
  Tensors,
  checked_tensors,
  prior_state,
  vqvae_state,
)
from videogpt_jax.interop.safetensors_file import read_safetensors, write_safetensors
from videogpt_jax.interop.torch_file import read_checkpoint, write_checkpoint
from videogpt_jax.interop.well_known import find
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig

_VQVAE = 'vqvae.'
"""Prefix of the VQ-VAE's tensors in a prior's file."""


def load(path: str | os.PathLike) -> Published:
  """Loads a published checkpoint: its file, or a published model's name.

  Files are `.ckpt` and `.safetensors`, and VideoGPT-Paper's `.pth.tar`.

  Raises:
    UserFileError: the file does not exist.
    UserError: the file cannot be read, is no VideoGPT checkpoint, or a tensor in it is missing,
      superfluous or of the wrong shape.
  """
  file = find(path)
  read = read_safetensors if file.suffix == '.safetensors' else read_checkpoint
  checkpoint = read(file)
  try:
    if paper.is_paper(checkpoint):
      return paper.from_checkpoint(checkpoint, lambda named: _vqvae_of(named, file))
    return from_checkpoint(checkpoint)
  except UserError as error:
    raise UserError(f'{file}: {error}') from error


def _vqvae_of(named: str, prior: pathlib.Path) -> Any:
  """Reads the VQ-VAE's file that a prior's names: where it says, or from the prior's folder on.

  VideoGPT-Paper calls every file model_best.pth.tar. The folders before a file's name then tell it
  from the prior's: of a/b/c, the prior's folder may hold a/b/c, b/c or c.
  """
  parts = pathlib.PurePath(named).parts
  ends = [prior.parent.joinpath(*parts[i:]) for i in range(len(parts))]
  for place in [pathlib.Path(named), *ends]:
    if place.is_file() and not place.samefile(prior):
      return read_checkpoint(place)
  beside = pathlib.PurePath(*parts[-1 if parts[-1:] != (prior.name,) else -2 :])
  raise UserError(
    f'its VQ-VAE is missing: it names {named}; put that file there, or as {beside} into the folder '
    'of the prior'
  )


def write(path: str | os.PathLike, checkpoint: Mapping[str, Any]):
  """Writes the tree of `to_checkpoint`, as safetensors if the suffix says so, else as `.ckpt`."""
  if os.fspath(path).endswith('.safetensors'):
    args = checkpoint['hyper_parameters']['args']
    write_safetensors(path, checkpoint['state_dict'], args)
  else:
    write_checkpoint(path, checkpoint)


def from_checkpoint(checkpoint: Any) -> Published:
  """Converts a checkpoint that was read from a file.

  Raises:
    UserError: as for `load`.
  """
  tensors, args = _parts(checkpoint)
  stated = {
    name: hyper_parameters.argument(args, name, int) for name in ('sequence_length', 'resolution')
  }
  if not any(name.startswith('attn_stack.') for name in tensors):
    config = hyper_parameters.vqvae_config(args)
    state, counters = vqvae_state(config, (), names.vqvae_table(config), tensors)
    return Published(config, state, **stated, counters=counters)
  config = hyper_parameters.embedded_vqvae_config(args, tensors)
  of_vqvae = {name: x for name, x in tensors.items() if name.startswith(_VQVAE)}
  of_prior = {name: x for name, x in tensors.items() if name not in of_vqvae}
  state, counters = vqvae_state(config, (), names.vqvae_table(config, _VQVAE), of_vqvae)
  counters = {name.removeprefix(_VQVAE): n for name, n in counters.items()}
  prior = hyper_parameters.prior_config(args, tensors)
  published = Published(config, state, **stated, prior=prior, counters=counters)
  prior_state = _prior_state(prior, published.codes, of_prior)
  return dataclasses.replace(published, prior_state=prior_state)


def to_checkpoint(published: Published, vqvae_path: str = '') -> dict[str, Any]:
  """Returns the tree of a checkpoint that the published code loads.

  Args:
    published: a VQ-VAE, or a prior and its VQ-VAE.
    vqvae_path: path of the VQ-VAE's file, which a prior's file states and the published code opens.
  Raises:
    UserError: the published code has no such model.
  """
  config, codes = published.vqvae, published.codes
  args = hyper_parameters.vqvae_args(config, codes)
  prefix = '' if published.prior is None else _VQVAE
  table = names.vqvae_table(config, prefix)
  tensors = state_dict.to_tensors(published.vqvae_state, table)
  for name in names.counter_names(table):
    tensors[name] = np.array(published.counters.get(name.removeprefix(prefix), 0), np.int64)
  if published.prior is not None:
    args = hyper_parameters.prior_args(published.prior, codes, vqvae_path)
    table = names.prior_table(published.prior, codes)
    tensors |= state_dict.to_tensors(published.prior_state, table)
    tensors |= dict.fromkeys(names.mask_names(published.prior), _causal_mask(codes))
  return {
    'epoch': 0,
    'global_step': published.step,
    'pytorch-lightning_version': '1.1.8',  # whose layout this is
    'state_dict': tensors,
    'hparams_name': 'args',
    'hyper_parameters': {'args': args},
  }


def _parts(checkpoint: Any) -> tuple[dict[str, np.ndarray], Any]:
  """Returns the tensors by name, and the arguments, of a checkpoint."""
  match checkpoint:
    case {'state_dict': Mapping() as tensors, 'hyper_parameters': {'args': args}}:
      pass
    case _:
      held = sorted(map(str, checkpoint)) if isinstance(checkpoint, Mapping) else type(checkpoint)
      raise UserError(f'a checkpoint holds a state_dict and hyper_parameters, not {held}')
  return checked_tensors(tensors), args


def _prior_state(config: PriorConfig, codes: CodeSpec, tensors: Tensors) -> nnx.State:
  masks, table = names.mask_names(config), names.prior_table(config, codes)
  shape = (math.prod(codes.latent_shape),) * 2
  state = prior_state(config, codes, table, tensors, dict.fromkeys(masks, shape))
  causal = _causal_mask(codes)  # as large as those in the file
  for name in masks:
    if not np.array_equal(tensors[name], causal):
      raise UserError(f'{name} is not the causal mask, lower triangular ones')
  return state


def _causal_mask(codes: CodeSpec) -> np.ndarray:
  return np.tri(math.prod(codes.latent_shape), dtype=np.float32)
