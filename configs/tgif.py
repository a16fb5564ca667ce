"""TGIF, unconditional, 16 frames of 64x64; the paper shows samples and no score.

  python -m videogpt_jax.main --config=configs/tgif.py
  python -m videogpt_jax.main --config=configs/tgif.py:published   the published VideoGPT's models

Latent 4x32x32; T9's cross-entropy is 2.87 nats per code on training and 2.86 on test data. The
models are those of UCF-101; VideoGPT-Paper as released has no TGIF, and its defaults are a learning
rate of 3e-4 for the VQ-VAE (T8: 7e-4) and 200k steps of the prior. Data: data/cards/tgif.md. Steps:
100k, then 600k (T9). Planned cost (counted, see docs/paper.md; not measured): 24 days of one v5e
chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def experiment() -> Experiment:
  return Experiment(
    name='tgif',
    dataset=paper.shards('tgif'),
    vqvae=paper.vqvae((4, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(1024, 8, 20, 4096, remat='full'),
    prior_training=paper.prior_training(600_000),
  )


def get_config(variant: str = 'paper'):
  return paper.chosen({'paper': experiment}, variant)
