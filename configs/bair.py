"""BAIR, 1 frame in and 15 out at 64x64: the headline row of T1, FVD 103.3 (T4: 103.3 +- 2.2).

  python -m videogpt_jax.main --config=configs/bair.py             8 layers, latent 8x32x32
  python -m videogpt_jax.main --config=configs/bair.py:table9      16 layers
  python -m videogpt_jax.main --config=configs/bair.py:published   the published weights' sizes

T1 quotes the 8-layer row of T4, although the text and T9 say 16. The headline is therefore
VideoGPT-Paper as it is: `vae_res64_ds222` and `gpt_small`, learning rate 3e-4 in both stages, 100k
and 200k steps, a ResNet of 576 units. `table9` has the tables' values: 7e-4 for the VQ-VAE, 150k
steps of the prior, 512 units (VideoGPT-Paper: 3e-4, 200k, 576, and 8 layers). T4's figures for it
are FVD 103.6 and 2.05 bits per code. T9's 3x64x64 is one frame of three colours; its actions are
left out, because the score is for the frame alone.

Clips start at a random frame, test clips too. The published weights, of the published VideoGPT,
have a 4x32x32 latent, 2048 codes and 8 layers: FVD 104.6 in T5. Data: data/cards/bair.md. Planned
cost (counted, see docs/paper.md; not measured), in days of one v5e chip: 3.7;
table9 5.1; published 1.4.
"""

import dataclasses

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.models.vqvae import VQVAEConfig


def experiment() -> Experiment:
  """Returns the headline row: VideoGPT-Paper's own values."""
  return dataclasses.replace(
    table9(8),
    name='bair',
    vqvae_training=paper.vqvae_training(learning_rate=3e-4),
    prior=paper.prior(512, 4, 8, 2048, **paper.frame(dim=576)),
    prior_training=paper.prior_training(200_000),
  )


def table9(n_layers: int = 16) -> Experiment:
  """Returns the model and training of T8 and T9, with this number of layers in its prior."""
  return Experiment(
    name='bair_table9',
    dataset=paper.shards('bair', test_start='random'),
    vqvae=paper.vqvae((2, 2, 2)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(512, 4, n_layers, 2048, **paper.frame()),
    prior_training=paper.prior_training(150_000),
  )


def published() -> Experiment:
  """Returns the sizes of `bair_stride4x2x2` and `bair_gpt`."""
  row = dataclasses.replace(table9(8), name='bair', vqvae=VQVAEConfig(downsample=(4, 2, 2)))
  return paper.published(row)


def get_config(variant: str = 'table1'):
  variants = {'table1': experiment, 'table9': table9, 'published': published}
  return paper.chosen(variants, variant)
