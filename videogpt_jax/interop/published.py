"""Published VideoGPT checkpoints: files to our models' configurations and states, and back.

A VQ-VAE's file states its hyper-parameters. A prior's file carries its VQ-VAE under `vqvae.` and
states the prior's only. Beside what our models keep, files repeat the causal mask for every layer
and count every batch norm's steps; masks are checked and made anew, counts are carried along.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from videogpt_jax.interop import hyper_parameters, names, state_dict
from videogpt_jax.interop.safetensors_file import read_safetensors, write_safetensors
from videogpt_jax.interop.torch_file import read_checkpoint, write_checkpoint
from videogpt_jax.interop.well_known import find
from videogpt_jax.models.prior import CodeSpec, Prior
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig

_VQVAE = 'vqvae.'
"""What the names of a VQ-VAE's tensors begin with in a prior's file."""


@dataclasses.dataclass(frozen=True)
class Published:
  """What a published checkpoint holds.

  Attributes:
    vqvae: configuration of the VQ-VAE, a prior's own if this is a prior's file.
    vqvae_state: state of `VQVAE(vqvae)`.
    sequence_length, resolution: of the clips it was trained on.
    prior: configuration of the prior; None if the file is a VQ-VAE's.
    prior_state: state of `Prior(prior, codes)`, or None.
    counters: steps that each of the VQ-VAE's batch norms has counted, by name; absent means 0.
    step: steps that the file's own model was trained for; 0 if unknown.
  """

  vqvae: VQVAEConfig
  vqvae_state: nnx.State
  sequence_length: int
  resolution: int
  prior: PriorConfig | None = None
  prior_state: nnx.State | None = None
  counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
  step: int = 0

  @property
  def codes(self) -> CodeSpec:
    """What a prior must know of the VQ-VAE."""
    return CodeSpec(
      latent_shape=self.vqvae.latent_shape(self.sequence_length, self.resolution),
      n_codes=self.vqvae.n_codes,
      embedding_dim=self.vqvae.embedding_dim,
      sequence_length=self.sequence_length,
      resolution=self.resolution,
    )


def load(path: str | os.PathLike) -> Published:
  """Loads a published checkpoint: a `.ckpt`, a `.safetensors`, or a published model's name.

  Raises:
    FileNotFoundError: it is not there.
    ValueError: the file cannot be read, is no VideoGPT checkpoint, or a tensor in it is missing,
      extra or wrongly shaped.
  """
  file = find(path)
  read = read_safetensors if file.suffix == '.safetensors' else read_checkpoint
  checkpoint = read(file)
  try:
    return from_checkpoint(checkpoint)
  except ValueError as error:
    raise ValueError(f'{file}: {error}') from error


def write(path: str | os.PathLike, checkpoint: Mapping[str, Any]):
  """Writes what `to_checkpoint` returns: `.safetensors` by that suffix, else `.ckpt`."""
  if os.fspath(path).endswith('.safetensors'):
    args = checkpoint['hyper_parameters']['args']
    write_safetensors(path, checkpoint['state_dict'], args)
  else:
    write_checkpoint(path, checkpoint)


def from_checkpoint(checkpoint: Any) -> Published:
  """Returns what a checkpoint, as read from a file, holds.

  Raises:
    ValueError: as `load`.
  """
  tensors, args = _parts(checkpoint)
  stated = {
    name: hyper_parameters.argument(args, name) for name in ('sequence_length', 'resolution')
  }
  if not any(name.startswith('attn_stack.') for name in tensors):
    config = hyper_parameters.vqvae_config(args)
    state, counters = _vqvae_state(config, tensors)
    return Published(config, state, **stated, counters=counters)
  config = hyper_parameters.embedded_vqvae_config(args, tensors)
  of_vqvae = {name: x for name, x in tensors.items() if name.startswith(_VQVAE)}
  of_prior = {name: x for name, x in tensors.items() if name not in of_vqvae}
  state, counters = _vqvae_state(config, of_vqvae, _VQVAE)
  prior = hyper_parameters.prior_config(args, tensors)
  published = Published(config, state, **stated, prior=prior, counters=counters)
  prior_state = _prior_state(prior, published.codes, of_prior)
  return dataclasses.replace(published, prior_state=prior_state)


def to_checkpoint(published: Published, vqvae_path: str = '') -> dict[str, Any]:
  """Returns the tree of a checkpoint that the published code loads.

  Args:
    published: a VQ-VAE, or a prior and its VQ-VAE.
    vqvae_path: a prior's file names the file of its VQ-VAE, which the published code opens first.
  Raises:
    ValueError: the published code has no such model.
  """
  config, codes = published.vqvae, published.codes
  args = hyper_parameters.vqvae_args(config, codes.sequence_length, codes.resolution)
  prefix = '' if published.prior is None else _VQVAE
  tensors = state_dict.to_tensors(published.vqvae_state, names.vqvae_table(config, prefix))
  for name in names.counter_names(config, prefix):
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
  """The tensors by name, and the arguments, of a checkpoint."""
  match checkpoint:
    case {'state_dict': Mapping() as tensors, 'hyper_parameters': {'args': args}}:
      pass
    case _:
      held = sorted(map(str, checkpoint)) if isinstance(checkpoint, Mapping) else type(checkpoint)
      raise ValueError(f'a checkpoint holds a state_dict and hyper_parameters, not {held}')
  for name, x in tensors.items():
    if not (isinstance(name, str) and isinstance(x, np.ndarray)):
      raise ValueError(f'its state_dict holds {name!r}, a {type(x).__name__}, beside tensors')
  return dict(tensors), args


def _vqvae_state(config: VQVAEConfig, tensors: Mapping[str, np.ndarray], prefix: str = ''):
  """The state of a VQ-VAE, and the steps its batch norms have counted."""
  abstract = nnx.state(nnx.eval_shape(lambda: VQVAE(config, rngs=nnx.Rngs(0))))
  table, counters = names.vqvae_table(config, prefix), names.counter_names(config, prefix)
  state = state_dict.to_state(tensors, table, abstract, besides=dict.fromkeys(counters, ()))
  # The published code forgets whether its codebook was initialised; a trained one counts its use.
  codebook = state['codebook']
  codebook['initialised'] = codebook['initialised'].replace(jnp.any(codebook['N'][...] > 0))
  return state, {name.removeprefix(prefix): int(tensors[name]) for name in counters}


def _prior_state(config: PriorConfig, codes: CodeSpec, tensors: Mapping[str, np.ndarray]):
  """The state of a prior."""
  abstract = nnx.state(nnx.eval_shape(lambda: Prior(config, codes, rngs=nnx.Rngs(0))))
  causal, masks = _causal_mask(codes), names.mask_names(config)
  state = state_dict.to_state(
    tensors, names.prior_table(config, codes), abstract, besides=dict.fromkeys(masks, causal.shape)
  )
  for name in masks:
    if not np.array_equal(tensors[name], causal):
      raise ValueError(f'{name} is not the causal mask, lower triangular ones')
  return state


def _causal_mask(codes: CodeSpec) -> np.ndarray:
  return np.tri(math.prod(codes.latent_shape), dtype=np.float32)
