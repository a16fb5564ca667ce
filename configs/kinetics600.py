"""Kinetics-600, 16 frames of 128x128. Not a row of the paper; its VQ-VAEs were published.

  python -m videogpt_jax.main --config=configs/kinetics600.py               latent 4x32x32
  python -m videogpt_jax.main --config=configs/kinetics600.py:stride2x4x4   latent 8x32x32
  python -m videogpt_jax.main --config=configs/kinetics600.py:published     latent 4x32x32, of P

The VQ-VAEs are those of the published VideoGPT (P), `kinetics_stride4x4x4` and
`kinetics_stride2x4x4` (2048 codes; its learning rate, 3e-4). The latter has slightly better
reconstructions. No prior was published: the first two have UCF-101's, `published` the published
script's default (8 layers of 576 units, full attention). Data: data/cards/kinetics600.md. Steps:
100k, then 600k. Planned cost (counted, see docs/paper.md; not measured), in days of one v5e chip:
24; with the larger latent 60; published 4.2.
"""

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.models.vqvae import VQVAEConfig


def experiment(downsample: tuple[int, int, int] = (4, 4, 4)) -> Experiment:
  return Experiment(
    name=f'kinetics600_stride{"x".join(map(str, downsample))}',
    dataset=paper.shards('kinetics600', 128),
    vqvae=VQVAEConfig(downsample=downsample),
    vqvae_training=paper.vqvae_training(learning_rate=3e-4),
    prior=paper.prior(1024, 8, 20, 4096, remat='full'),
    prior_training=paper.prior_training(600_000),
  )


def get_config(variant: str = 'stride4x4x4'):
  variants = {'stride4x4x4': experiment, 'stride2x4x4': lambda: experiment((2, 4, 4))}
  return paper.chosen(variants, variant)
