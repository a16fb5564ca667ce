"""ViZDoom, Battle2, conditioned on actions, 16 frames of 64x64.

  python -m videogpt_jax.main --config=configs/vizdoom_battle2.py
  python -m videogpt_jax.main --config=configs/vizdoom_battle2.py:published   published

The paper has samples and no score. T8 and T9: latent 8x32x32, 16 layers, a clip's actions as one
vector for the norms. VideoGPT-Paper's defaults are a learning rate of 3e-4 for the VQ-VAE (T8:
7e-4), 200k steps of the prior and 8 layers. The table's 315 is taken to be 15 actions of 21
numbers, as BAIR's 64 is 16 of 4: so an action has 21 here. Set config.prior.action_dim to that of
your recording. Data: data/cards/vizdoom.md. Steps: 100k, then 150k. Planned cost (counted, see
docs/paper.md; not measured): 4.6 days of one v5e chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def experiment() -> Experiment:
  return Experiment(
    name='vizdoom_battle2',
    dataset=paper.shards('vizdoom_battle2'),
    vqvae=paper.vqvae((2, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(512, 4, 16, 2048, action_dim=21, action_form='clip'),
    prior_training=paper.prior_training(150_000),
  )


def get_config(variant: str = 'paper'):
  return paper.chosen({'paper': experiment}, variant)
