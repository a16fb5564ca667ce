"""Settings shared by the rows of the paper: tables T8 (VQ-VAE) and T9 (prior), with their names.

The tables were made with VideoGPT-Paper, another code than the published VideoGPT. Rows are its
models: 128 residual units, position embeddings before axial attention, a 3x3x3 convolution after
the codebook, heads of a size of their own, no attention dropout, 16 x 16 features of the
conditioning frame. Both models are kept at their lowest held-out loss. Where its defaults differ
from the tables, rows have the tables' values: learning rate 7e-4 of the VQ-VAE (there 3e-4), 150k
steps of BAIR's prior (200k), ResNet of 512 units (576), 16 layers (8). bair.py's headline is the
exception: all its values are VideoGPT-Paper's.

`published` gives any row the models and training of the published VideoGPT.
"""

import dataclasses
from collections.abc import Callable, Mapping

import ml_collections

from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig


def shards(name: str, resolution: int = 64, **changes) -> DatasetConfig:
  """Returns clips of 16 frames from shards/, where data/prepare.py writes them."""
  path = f'shards/{name}'
  return DatasetConfig(source='tfrecord', path=path, resolution=resolution, **changes)


def vqvae(downsample: tuple[int, int, int], **changes) -> VQVAEConfig:
  """T8: 1024 codes of 256 dimensions, hidden 240, 128 residual units, 4 layers, 2 heads."""
  sizes = {'n_codes': 1024, 'embedding_dim': 256, 'n_hiddens': 240, 'n_res_layers': 4}
  sizes |= {'residual_dim': 128, 'axial_positions': True, 'post_vq_kernel': 3}
  return VQVAEConfig(downsample=downsample, n_heads=2, **sizes | changes)


def prior(hidden_dim: int, n_heads: int, n_layers: int, mlp_dim: int, **changes) -> PriorConfig:
  """T9: Sparse Transformer attention (local and strided), dropout 0.2."""
  settings = {'attn_type': 'sparse', 'dropout': 0.2, 'attn_dropout': 0.0}
  settings |= {'head_dim': hidden_dim // n_heads, 'attn_bias': False, 'codebook_axis': True}
  return PriorConfig(
    hidden_dim=hidden_dim,
    n_heads=n_heads,
    n_layers=n_layers,
    mlp_dim=mlp_dim,
    **settings | changes,
  )


def frame(depth: int = 34, dim: int = 512) -> dict:
  """T9: one conditioning frame (3x64x64: its colours), and the network that encodes it."""
  return {
    'n_cond_frames': 1,
    'resnet_depth': depth,
    'resnet_dim': dim,
    'resnet_grid': (1, 16, 16),
  }


def vqvae_training(steps: int = 100_000, learning_rate: float = 7e-4) -> TrainingConfig:
  """T8: batch 32, learning rate 7e-4 (3e-4 in both codes)."""
  return _training(steps, learning_rate, 'constant')


def prior_training(steps: int) -> TrainingConfig:
  """T9: batch 32, learning rate 3e-4 with cosine decay."""
  return _training(steps, 3e-4, 'cosine')


def _training(steps: int, learning_rate: float, schedule: str) -> TrainingConfig:
  """VideoGPT-Paper scores every held-out clip every 10,000 steps, and keeps the best model."""
  return TrainingConfig(
    steps=steps,
    batch_size=32,
    optimizer=OptimizerConfig(learning_rate=learning_rate, schedule=schedule, clip_norm=1.0),
    evaluate_every=10_000,
    evaluate_batches=-1,
    keep_best=True,
  )


def published(row: Experiment) -> Experiment:
  """Returns a row with the models and training of the published VideoGPT.

  That code cannot condition on actions; the row's stay. It clips gradients where a flag says so (1
  here), keeps the best VQ-VAE and the last prior, and augments nothing.
  """
  kept = ('n_classes', 'action_dim', 'action_form', 'n_cond_frames')
  conditions = {name: getattr(row.prior, name) for name in kept}
  return dataclasses.replace(
    row,
    name=f'{row.name}_published',
    dataset=dataclasses.replace(row.dataset, random_crop=False, random_flip=False),
    vqvae=VQVAEConfig(downsample=row.vqvae.downsample),
    vqvae_training=vqvae_training(row.vqvae_training.steps, learning_rate=3e-4),
    prior=PriorConfig(**conditions),
    prior_training=dataclasses.replace(row.prior_training, keep_best=False),
  )


def chosen(
  variants: Mapping[str, Callable[[], Experiment]], variant: str
) -> ml_collections.ConfigDict:
  """Returns a variant's configuration; `published` is one of every row.

  Args:
    variants: by name; the first one is the row itself.
    variant: the argument of a configuration file.
  Raises:
    UserError: there is no such variant.
  """
  row = next(iter(variants.values()))
  options = {'published': lambda: published(row()), **variants}
  if variant not in options:
    names = ', '.join([*variants, *options.keys() - variants.keys()])
    raise UserError(f'variant ({variant!r}) must be one of {names}')
  return options[variant]().to_config_dict()
