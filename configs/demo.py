"""All stages on embedded data, for a laptop: `make demo`.

In each clip of 16 frames of 32x32, one real handwritten digit (UCI, 8x8) bounces off the walls. A
VQ-VAE with 256 codes encodes a clip as 4x8x8 codes, which a class-conditional prior models. Not a
row of the paper.

  python -m videogpt_jax.main --config=configs/demo.py
"""

from videogpt_jax.config import Experiment
from videogpt_jax.evaluation.protocols import EvaluationConfig
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig


def get_config():
  return Experiment(
    name='demo',
    dataset=DatasetConfig(
      source='digits', resolution=32, sequence_length=16, n_digits=1, digit_speed=1.0
    ),
    vqvae=VQVAEConfig(
      n_codes=256, embedding_dim=64, n_hiddens=64, n_res_layers=1, downsample=(4, 4, 4)
    ),
    vqvae_training=TrainingConfig(
      steps=450,
      batch_size=16,
      optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, ema_decay=0.99),
      log_every=25,
      evaluate_every=150,
      evaluate_batches=4,
      checkpoint_every=75,
    ),
    prior=PriorConfig(
      hidden_dim=128, n_heads=4, n_layers=4, dropout=0.0, attn_dropout=0.0, n_classes=10
    ),
    prior_training=TrainingConfig(
      steps=1500,
      batch_size=8,
      optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50, b2=0.95, ema_decay=0.99),
      log_every=50,
      evaluate_every=500,
      evaluate_batches=4,
      checkpoint_every=150,
    ),
    sample=SampleConfig(num=20, temperature=0.8),
    evaluation=EvaluationConfig(fvd_clips=128),
  ).to_config_dict()
