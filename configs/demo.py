"""All stages on embedded data, for a laptop: `make demo`.

In each clip of 16 frames of 32x32, one real handwritten digit (UCI, 8x8) bounces off the walls. A
VQ-VAE of convolutions, with 256 codes, encodes each four frames of a clip by themselves as 8x8
codes. A modern, class-conditional prior is trained on codes that are prepared once. Its attention
reaches back four latent frames, so that `play` goes on without an end. Not a row of the paper.

  python -m videogpt_jax.main --config=configs/demo.py
  python -m videogpt_jax.main --config=configs/demo.py:published   blocks as in the published code

`published` looks at whole clips, with axial attention, and cannot be played.
"""

import dataclasses

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation.protocols import EvaluationConfig
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.vqvae_loss import LossConfig


def modern() -> Experiment:
  """Returns what `make demo` runs."""
  return Experiment(
    name='demo',
    prior_crops=1,
    dataset=DatasetConfig(
      source='digits',
      resolution=32,
      sequence_length=16,
      n_digits=1,
      digit_speed=1.0,
      n_train_clips=12_000,
    ),
    vqvae=VQVAEConfig(
      n_codes=256,
      embedding_dim=64,
      n_hiddens=64,
      n_res_layers=2,
      downsample=(4, 4, 4),
      axial_attention=False,
      norm='group',
      time_padding='none',
    ),
    vqvae_loss=LossConfig(gradient_weight=1.0),
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
      hidden_dim=128,
      n_heads=4,
      n_layers=4,
      dropout=0.0,
      attn_dropout=0.0,
      attn_type='window',
      attn_window=4,
      positions='rotary',
      qk_norm=True,
      norm='rms',
      mlp='swiglu',
      n_classes=10,
      cond_dropout=0.1,
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
    sample=SampleConfig(num=20, temperature=0.8, guidance=1.5),
    evaluation=EvaluationConfig(fvd_clips=128),
  )


def published() -> Experiment:
  """Returns the same with the blocks of the published code, and without guidance."""
  row = modern()
  sizes = ('hidden_dim', 'n_heads', 'n_layers', 'dropout', 'attn_dropout', 'n_classes')
  return dataclasses.replace(
    row,
    name='demo_published',
    vqvae=VQVAEConfig(
      n_codes=256, embedding_dim=64, n_hiddens=64, n_res_layers=1, downsample=(4, 4, 4)
    ),
    vqvae_loss=LossConfig(),
    prior=PriorConfig(**{name: getattr(row.prior, name) for name in sizes}),
    sample=SampleConfig(num=20, temperature=0.8),
  )


def get_config(variant: str = 'modern'):
  return paper.chosen({'modern': modern, 'published': published}, variant)
