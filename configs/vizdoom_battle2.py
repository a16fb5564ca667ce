"""ViZDoom, Battle2, conditioned on actions, 16 frames of 64x64.

  python -m videogpt_jax.main --config=configs/vizdoom_battle2.py

The paper has samples and no score. T8 and T9: latent 8x32x32, 16 layers.
The table's 315 stands here as the size of an action, though the card reads it otherwise; set
config.prior.action_dim to what your recording of this scenario has.
Data: data/cards/vizdoom.md. Steps: 100k, then 150k. Planned cost
(counted, see docs/paper.md; not measured): 4.5 days of one v5e chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def get_config():
  return Experiment(
    name='vizdoom_battle2',
    dataset=paper.shards('vizdoom_battle2'),
    vqvae=paper.vqvae((2, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(512, 4, 16, 2048, action_dim=315),
    prior_training=paper.prior_training(150_000),
  ).to_config_dict()
