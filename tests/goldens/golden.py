"""Golden tensors of the published implementation, and the models that they were recorded from."""

import argparse
import json
import pathlib

import numpy as np
import pytest
from flax import nnx

from tests.goldens.recipe import parameter
from videogpt_jax.interop import published
from videogpt_jax.interop.torch_file import read_checkpoint
from videogpt_jax.models.conditioners import from_batch
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE

HERE = pathlib.Path(__file__).parent
SHARED = HERE.parents[2] / 'shared' / 'goldens'
"""All of them; the repository keeps most (README.md)."""


class Golden:
  """One golden file; asking for an array that only ../shared has skips the test without it."""

  def __init__(self, name: str):
    self.name = name
    folder = SHARED if (SHARED / f'{name}.npz').exists() else HERE
    with np.load(folder / f'{name}.npz') as arrays:
      self.arrays = dict(arrays)
    self.config = json.loads(str(self.arrays['config']))

  def __getitem__(self, key: str) -> np.ndarray:
    if key not in self.arrays:
      pytest.skip(f'{key} of {self.name} is only in ../shared/goldens, which is not here')
    return self.arrays[key]

  def video(self, key: str) -> np.ndarray:
    """A video, float32 [B T H W C]; the files have [B C T H W]."""
    return np.moveaxis(self[key], 1, -1)

  def under(self, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, by the rest of their names."""
    return {k.removeprefix(prefix): x for k, x in self.arrays.items() if k.startswith(prefix)}

  def state_dict(self) -> dict[str, np.ndarray]:
    """The parameters: stored, made by the recipe, or those of vqvae.ckpt."""
    if stored := self.under('param/'):
      return stored
    if self.name == 'vqvae_ds444':
      return read_checkpoint(HERE / 'vqvae.ckpt')['state_dict']
    shapes = self.config['state_dict_shapes']
    return {name: parameter(name, tuple(s), self.config['salt']) for name, s in shapes.items()}


def vqvae_of(golden: Golden, **replaced: np.ndarray) -> published.Published:
  """The VQ-VAE of a golden file, with some tensors of its state dict replaced."""
  tensors = golden.state_dict() | replaced
  return published.from_checkpoint(checkpoint(tensors, golden.config))


def prior_of(golden: Golden) -> published.Published:
  """The prior of a golden file, with the VQ-VAE that it was recorded on top of."""
  config = golden.config
  name = 'vqvae_ds422_wide' if config['attn_type'] == 'sparse' else 'vqvae_ds422'
  tensors = {f'vqvae.{key}': x for key, x in Golden(name).state_dict().items()}
  tensors |= golden.state_dict()
  if config['attn_type'] == 'full':  # the files leave out the masks that a checkpoint has
    length = golden['in/encodings'][0].size
    mask = np.tri(length, dtype=np.float32)
    tensors |= {f'attn_stack.attn_nets.{i}.attn.attn.mask': mask for i in range(config['layers'])}
  return published.from_checkpoint(checkpoint(tensors, config))


def checkpoint(tensors: dict[str, np.ndarray], config: dict) -> dict:
  """The tree of a checkpoint."""
  return {'state_dict': tensors, 'hyper_parameters': {'args': argparse.Namespace(**config)}}


def models_of(loaded: published.Published) -> tuple[VQVAE, Prior | None]:
  """The models that hold the states."""
  vqvae = nnx.eval_shape(lambda: VQVAE(loaded.vqvae, rngs=nnx.Rngs(0)))
  nnx.update(vqvae, loaded.vqvae_state)
  if loaded.prior is None:
    return vqvae, None
  prior = nnx.eval_shape(lambda: Prior(loaded.prior, loaded.codes, rngs=nnx.Rngs(0)))
  nnx.update(prior, loaded.prior_state)
  return vqvae, prior


def conditions_of(golden: Golden, config: PriorConfig) -> dict[str, np.ndarray]:
  """What a golden file's prior was conditioned on."""
  batch = {'label': golden.arrays.get('in/label')}
  if config.n_cond_frames:
    batch['video'] = golden.video('in/video')
  return from_batch(batch, config)


def relative_error(ours, theirs) -> float:
  """Largest absolute error over largest absolute value."""
  theirs = np.asarray(theirs)
  assert ours.shape == theirs.shape
  return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
