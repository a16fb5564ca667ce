"""RoboNet, 1 frame and actions in, 16 frames of 64x64; the paper shows samples and no score.

  python -m videogpt_jax.main --config=configs/robonet.py
  python -m videogpt_jax.main --config=configs/robonet.py:published   the published VideoGPT's

T8 and T9: as BAIR with 16 layers, latent 8x32x32. T9's 3x64x64 is one frame of three colours, since
VideoGPT-Paper's encoder takes 1, 2 or 4 frames, and its 64 numbers are the 4-dimensional actions of
16 frames, one vector a clip for the norms (both deduced; the released code has no RoboNet). Its
defaults are a learning rate of 3e-4 for the VQ-VAE (T8: 7e-4), 200k steps of the prior, 8 layers
and a ResNet of 576 units (T9: 512). Data: data/cards/robonet.md. Steps: 100k, then 150k. Planned
cost (counted, see docs/paper.md; not measured): 5.1 days of one v5e chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def experiment() -> Experiment:
  return Experiment(
    name='robonet',
    dataset=paper.shards('robonet'),
    vqvae=paper.vqvae((2, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(512, 4, 16, 2048, action_dim=4, action_form='clip', **paper.frame()),
    prior_training=paper.prior_training(150_000),
  )


def get_config(variant: str = 'paper'):
  return paper.chosen({'paper': experiment}, variant)
