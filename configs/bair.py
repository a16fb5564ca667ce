"""BAIR, 1 frame in and 15 out at 64x64: the headline row of T1, FVD 103.3 (T4: 103.3 +- 2.2).

  python -m videogpt_jax.main --config=configs/bair.py             8 layers, latent 8x32x32
  python -m videogpt_jax.main --config=configs/bair.py:table9      16 layers
  python -m videogpt_jax.main --config=configs/bair.py:published   the published weights' sizes

T4's figure for 16 layers is FVD 103.6, 2.05 bits a code. The published weights have a 4x32x32
latent, 2048 codes and 8 layers: T5's FVD 104.6.

Although the text and T9 say 16 layers, the 8-layer row is the one that T1 quotes. T9's 3 frames and
actions are left out: the score is for 1 frame. Data: data/cards/bair.md. Steps: 100k, then 150k.
Planned cost (counted, see docs/paper.md; not measured), in days of one v5e chip: 2.8; table9 5.1;
published 1.4.
"""

import dataclasses

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig


def experiment(n_layers: int = 8) -> Experiment:
  """The paper's model with so many layers in its prior."""
  return Experiment(
    name='bair',
    dataset=paper.shards('bair'),
    vqvae=paper.vqvae((2, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(512, 4, n_layers, 2048, n_cond_frames=1, resnet_depth=34, resnet_dim=512),
    prior_training=paper.prior_training(150_000),
  )


def published() -> Experiment:
  """The sizes of `bair_stride4x2x2` and `bair_gpt`."""
  return dataclasses.replace(
    experiment(),
    name='bair_published',
    vqvae=VQVAEConfig(downsample=(4, 2, 2)),
    vqvae_training=paper.vqvae_training(learning_rate=3e-4),
    prior=PriorConfig(n_cond_frames=1),
  )


def get_config(variant: str = 'table1'):
  variants = {'table1': experiment, 'table9': lambda: experiment(16), 'published': published}
  if variant not in variants:
    raise ValueError(f'variant ({variant!r}) must be one of {", ".join(variants)}')
  return variants[variant]().to_config_dict()
