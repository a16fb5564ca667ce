"""What the rows of the paper share: tables T8 (VQ-VAE) and T9 (prior), whose names are kept.

Where the tables are silent the published code's values stand: Adam, gradients clipped to norm 1,
attention dropout 0.3, and half of the hidden units (120, where T8 says 128) in a residual block.
"""

from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.training.fit import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig


def shards(name: str, resolution: int = 64, **changes) -> DatasetConfig:
  """Clips of 16 frames, as data/prepare.py stores them under shards/."""
  path = f'shards/{name}'
  return DatasetConfig(source='tfrecord', path=path, resolution=resolution, **changes)


def vqvae(downsample: tuple[int, int, int], **changes) -> VQVAEConfig:
  """T8: 1024 codes of 256 dimensions, hidden 240, 4 residual layers, 2 heads."""
  sizes = {'n_codes': 1024, 'embedding_dim': 256, 'n_hiddens': 240, 'n_res_layers': 4}
  return VQVAEConfig(downsample=downsample, n_heads=2, **sizes | changes)


def vqvae_training(steps: int = 100_000, learning_rate: float = 7e-4) -> TrainingConfig:
  """T8: batch 32, learning rate 7e-4 (3e-4 in the published code)."""
  return TrainingConfig(
    steps=steps,
    batch_size=32,
    optimizer=OptimizerConfig(learning_rate=learning_rate, schedule='constant'),
  )


def prior(hidden_dim: int, n_heads: int, n_layers: int, mlp_dim: int, **changes) -> PriorConfig:
  """T9: Sparse Transformer attention (local and strided), dropout 0.2."""
  settings = {'attn_type': 'sparse', 'dropout': 0.2} | changes
  return PriorConfig(
    hidden_dim=hidden_dim, n_heads=n_heads, n_layers=n_layers, mlp_dim=mlp_dim, **settings
  )


def prior_training(steps: int) -> TrainingConfig:
  """T9: batch 32, learning rate 3e-4 with cosine decay."""
  return TrainingConfig(
    steps=steps,
    batch_size=32,
    optimizer=OptimizerConfig(learning_rate=3e-4, schedule='cosine'),
  )
