"""Kinetics-600, 16 frames of 128x128. The paper has no row for it, the published weights have.

  python -m videogpt_jax.main --config=configs/kinetics600.py

The VQ-VAE has the sizes of `kinetics_stride4x4x4` (latent 4x32x32, 2048 codes); the prior is that
of UCF-101, which is a choice of ours: no prior was published. Data: data/cards/kinetics600.md.
Steps: 100k, then 600k. Cost: not measured.
"""

from configs import paper
from videogpt_jax.config import Experiment


def get_config():
  return Experiment(
    name='kinetics600',
    dataset=paper.shards('kinetics600', 128),
    vqvae=paper.vqvae((4, 4, 4), n_codes=2048),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(1024, 8, 20, 4096),
    prior_training=paper.prior_training(600_000),
  ).to_config_dict()
