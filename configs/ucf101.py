"""UCF-101, unconditional, 16 frames: T2, Inception Score 24.69 +- 0.30 at 128x128.

  python -m videogpt_jax.main --config=configs/ucf101.py             128x128
  python -m videogpt_jax.main --config=configs/ucf101.py:64          64x64
  python -m videogpt_jax.main --config=configs/ucf101.py:published   128x128, the published code's

Latent 4x32x32 in all; T9's cross-entropy is 3.40 nats a code in training and 3.12 in the test.
`published` has the sizes of `ucf101_stride4x4x4` (2048 codes) and, with it, the prior that the
published script trains unless it is told otherwise (8 layers of 576 units, full attention).
Data: data/cards/ucf101.md. Steps: 100k, then 200k (T9 gives 200k and 600k for UCF-101 and TGIF).
Planned cost (counted, see docs/paper.md; not measured), in days of one v5e chip: 8.1; published
1.6. The score: evaluate --workdir=DIR --protocol=10k --is_weights=FILE,MEAN (docs/evaluation.md).
"""

import dataclasses

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig


def experiment(size: int) -> Experiment:
  """The paper's model at this resolution."""
  return Experiment(
    name=f'ucf101_{size}',
    dataset=paper.shards(f'ucf101_{size}', size),
    vqvae=paper.vqvae((4, size // 32, size // 32)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(1024, 8, 20, 4096),
    prior_training=paper.prior_training(200_000),
  )


def published() -> Experiment:
  return dataclasses.replace(
    experiment(128),
    name='ucf101_published',
    vqvae=VQVAEConfig(downsample=(4, 4, 4)),
    vqvae_training=paper.vqvae_training(learning_rate=3e-4),
    prior=PriorConfig(),
  )


def get_config(variant: str = '128'):
  variants = {'64': lambda: experiment(64), '128': lambda: experiment(128), 'published': published}
  if variant not in variants:
    raise ValueError(f'variant ({variant!r}) must be one of {", ".join(variants)}')
  return variants[variant]().to_config_dict()
