"""TGIF, unconditional, 16 frames of 64x64; the paper shows samples and no score.

  python -m videogpt_jax.main --config=configs/tgif.py

Latent 4x32x32; T9's cross-entropy is 2.87 nats a code in training and 2.86 in the test. Data:
data/cards/tgif.md. Steps: 100k, then 600k (T9). Planned cost (counted, see
docs/paper.md; not measured): 24 days of one v5e chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def get_config():
  return Experiment(
    name='tgif',
    dataset=paper.shards('tgif'),
    vqvae=paper.vqvae((4, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(1024, 8, 20, 4096),
    prior_training=paper.prior_training(600_000),
  ).to_config_dict()
