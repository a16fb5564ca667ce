"""Kinetics-600, 16 frames of 128x128. Not a row of the paper; its VQ-VAEs were published.

  python -m videogpt_jax.main --config=configs/kinetics600.py               latent 4x32x32
  python -m videogpt_jax.main --config=configs/kinetics600.py:stride2x4x4   latent 8x32x32

The VQ-VAEs are those of the published VideoGPT, `kinetics_stride4x4x4` and `kinetics_stride2x4x4`
(2048 codes; its learning rate, 3e-4). The latter has slightly better reconstructions. No prior was
published; ours is UCF-101's. Data: data/cards/kinetics600.md. Steps: 100k, then 600k. Planned cost
(counted, see docs/paper.md; not measured): 24 days of one v5e chip; with the larger latent
60.
"""

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.models.vqvae import VQVAEConfig


def get_config(variant: str = 'stride4x4x4'):
  variants = {'stride4x4x4': (4, 4, 4), 'stride2x4x4': (2, 4, 4)}
  if variant not in variants:
    raise UserError(f'variant ({variant!r}) must be one of {", ".join(variants)}')
  return Experiment(
    name=f'kinetics600_{variant}',
    dataset=paper.shards('kinetics600', 128),
    vqvae=VQVAEConfig(downsample=variants[variant]),
    vqvae_training=paper.vqvae_training(learning_rate=3e-4),
    prior=paper.prior(1024, 8, 20, 4096, remat='full'),
    prior_training=paper.prior_training(600_000),
  ).to_config_dict()
