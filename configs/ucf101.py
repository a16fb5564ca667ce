"""UCF-101, unconditional, 16 frames: T2, Inception Score 24.69 +- 0.30 at 128x128.

  python -m videogpt_jax.main --config=configs/ucf101.py        128x128
  python -m videogpt_jax.main --config=configs/ucf101.py:64     64x64

Latent 4x32x32 at both sizes; T9's cross-entropy is 3.40 nats a code in training and 3.12 in the
test. Data: data/cards/ucf101.md. Steps: 100k, then 200k (T9 gives 200k and 600k for UCF-101 and
TGIF). Cost: not measured.
"""

from configs import paper
from videogpt_jax.config import Experiment


def get_config(resolution: str = '128'):
  if resolution not in ('64', '128'):
    raise ValueError(f"resolution ({resolution!r}) must be '64' or '128'")
  size = int(resolution)
  return Experiment(
    name=f'ucf101_{size}',
    dataset=paper.shards(f'ucf101_{size}', size),
    vqvae=paper.vqvae((4, size // 32, size // 32)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(1024, 8, 20, 4096),
    prior_training=paper.prior_training(200_000),
  ).to_config_dict()
