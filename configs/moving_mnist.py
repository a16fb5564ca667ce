"""Moving MNIST, 1 frame in, 16 frames of 64x64; the paper shows samples and no score.

  python -m videogpt_jax.main --config=configs/moving_mnist.py
  python -m videogpt_jax.main --config=configs/moving_mnist.py:published   the published VideoGPT's

T8 and T9: latent 4x16x16, no attention in the VQ-VAE, 512 codes of 64 dimensions; prior of 192
dimensions and 384 MLP units (the text says 384 hidden features). VideoGPT-Paper as released has no
Moving MNIST; its learning rate of the VQ-VAE is 3e-4 by default (T8: 7e-4). Data:
data/cards/moving_mnist.md. Steps: 20k, then 80k. Planned cost (counted, see docs/paper.md; not
measured): 1.3 hours of one v5e chip.
"""

from configs import paper
from videogpt_jax.config import Experiment


def experiment() -> Experiment:
  return Experiment(
    name='moving_mnist',
    dataset=paper.shards('moving_mnist'),
    vqvae=paper.vqvae(
      (4, 4, 4),
      n_codes=512,
      embedding_dim=64,
      n_res_layers=2,
      axial_attention=False,
      axial_positions=False,
    ),
    vqvae_training=paper.vqvae_training(20_000),
    prior=paper.prior(192, 4, 8, 384, dropout=0.1, **paper.frame(depth=18)),
    prior_training=paper.prior_training(80_000),
  )


def get_config(variant: str = 'paper'):
  return paper.chosen({'paper': experiment}, variant)
