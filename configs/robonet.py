"""RoboNet, 3 frames and actions in, 16 frames of 64x64; the paper shows samples and no score.

  python -m videogpt_jax.main --config=configs/robonet.py

T8 and T9: as BAIR with 16 layers, latent 8x32x32, and the 4-dimensional actions of every frame (64
numbers a clip). Data: data/cards/robonet.md. Steps: 100k, then 150k. Planned cost (counted, see
docs/paper.md; not measured): 5.5 days of one v5e chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def get_config():
  return Experiment(
    name='robonet',
    dataset=paper.shards('robonet'),
    vqvae=paper.vqvae((2, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(
      512, 4, 16, 2048, n_cond_frames=3, action_dim=4, resnet_depth=34, resnet_dim=512
    ),
    prior_training=paper.prior_training(150_000),
  ).to_config_dict()
