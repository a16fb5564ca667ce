"""Golden tensors of VideoGPT-Paper (../shared/goldens/paper), and the models of those files."""

import functools
import json

import jax
import numpy as np
import pytest
from flax import nnx

from tests.goldens.golden import SHARED
from tests.goldens.recipe import parameter
from videogpt_jax.interop import paper, paper_names
from videogpt_jax.interop.contents import prior_state, vqvae_state
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.quantizers import EMAQuantizer, QuantizerConfig
from videogpt_jax.models.spec import CodeSpec, code_spec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE

FOLDER = SHARED / 'paper'

quick_jit = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
"""Compiles in half the time what runs a few times on a tiny model."""


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a file; skips the test where it is missing."""
  if not FOLDER.is_dir():
    pytest.skip('../shared/goldens/paper is not here')
  with np.load(FOLDER / f'{name}.npz') as file:
    return dict(file)


def under(found: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
  """Returns the arrays whose names begin with `prefix`, by the rest of their names."""
  return {k.removeprefix(prefix): x for k, x in found.items() if k.startswith(prefix)}


def channels_last(x: np.ndarray) -> np.ndarray:
  """[B C T H W] -> [B T H W C]."""
  return np.moveaxis(x, 1, -1)


def codes_of(x: np.ndarray) -> np.ndarray:
  """Codes [B t h w l], or what is there for each code: without the axis of a single codebook."""
  return x[:, :, :, :, 0] if x.shape[4] == 1 else x


class VQVAEGolden:
  """One VQ-VAE's file: its arrays, its table of names and its model."""

  def __init__(self, name: str):
    self.arrays = arrays(name)
    self.hp = json.loads(str(self.arrays['config']))
    self.config = paper.vqvae_config(self.hp)
    length, height, width = self.hp['input_shape']
    self.grid = self.config.latent_shape(length, (height, width))
    self.codes = code_spec(self.config, length, height)
    self.table = paper_names.vqvae_table(self.config)

  def model(self, **replaced: np.ndarray) -> VQVAE:
    tensors = under(self.arrays, 'param/') | replaced
    state, _ = vqvae_state(self.config, self.grid, self.table, tensors)
    model = nnx.eval_shape(lambda: VQVAE(self.config, self.grid, rngs=nnx.Rngs(0)))
    nnx.update(model, state)
    return model


class PriorGolden:
  """One prior of a file, which holds several under prefixes.

  Attributes:
    arrays: of this prior.
    config: of the prior.
    codes: of its VQ-VAE.
    table: of names.
    conditions: as `Prior.condition` takes them.
  """

  def __init__(self, file: str, prefix: str):
    self.arrays = under(arrays(file), f'{prefix}/')
    self.hp = json.loads(str(arrays(file)['config']))[prefix]
    cond, self.conditions = self.hp['cond'], {}
    frames = cond.get('frames', {})
    cond_hp = {'class_cond': 'n_classes' in cond, 'n_cond_frames': frames.get('n_cond_frames', 0)}
    cond_hp |= {'cond_init_configs': frames}
    config = paper.prior_config(self.hp, cond_hp, self.tensors())
    self.config = PriorConfig(**vars(config) | {'vector_dim': cond.get('vector', 0)})
    if 'in/label' in self.arrays:
      self.conditions['class_label'] = self.arrays['in/label']
    if 'in/vector' in self.arrays:
      self.conditions['vector'] = self.arrays['in/vector']
    if frames:
      self.conditions['frames'] = channels_last(self.arrays['in/frames'])
    if self.hp['vqvae']:
      vqvae = VQVAEGolden(self.hp['vqvae'])
      self.codes, self.codebook = vqvae.codes, vqvae.arrays['param/codebook.embeddings']
    else:
      (*grid, books), size = self.hp['shape'], frames.get('size', [16, 16])
      shape = (*grid, books) if books > 1 else tuple(grid)
      self.codes = CodeSpec(shape, self.hp['n_vocab'], self.hp['in_features'], 8, tuple(size))
      self.codebook = self.arrays['vq/embeddings']
    self.table = paper_names.prior_table(self.config, self.codes)

  def tensors(self) -> dict[str, np.ndarray]:
    """The state dict: stored, and the frame encoder by the recipe."""
    stored = under(self.arrays, 'param/')
    shapes = self.hp['state_dict_shapes'].items()
    salt = self.hp['salt']
    return {k: stored[k] if k in stored else parameter(k, tuple(s), salt) for k, s in shapes}

  def model(self) -> Prior:
    model = nnx.eval_shape(lambda: Prior(self.config, self.codes, rngs=nnx.Rngs(0)))
    nnx.update(model, prior_state(self.config, self.codes, self.table, self.tensors()))
    return model

  def quantizer(self) -> EMAQuantizer:
    """What looks codes up."""
    books, n_codes, size = self.codebook.shape
    quantizer = EMAQuantizer(QuantizerConfig(n_codes, books * size, books), rngs=nnx.Rngs(0))
    quantizer.embeddings[...] = np.asarray(self.codebook)
    return quantizer
