"""UCF-101, unconditional, 16 frames: T2, Inception Score 24.69 +- 0.30 at 128x128.

  python -m videogpt_jax.main --config=configs/ucf101.py             128x128
  python -m videogpt_jax.main --config=configs/ucf101.py:64          64x64
  python -m videogpt_jax.main --config=configs/ucf101.py:published   128x128, the published VideoGPT

Latent 4x32x32 in all; T9's cross-entropy is 3.40 nats per code on training and 3.12 on test data.
Training clips are all stretches of all recordings, cropped at a random position and mirrored half
of the time, as in VideoGPT-Paper; test clips start at a random frame (there, every stretch is one).
VideoGPT-Paper's learning rate of the VQ-VAE is 3e-4, not T8's 7e-4. `published` has the sizes of
`ucf101_stride4x4x4` (2048 codes) and of the published script's default prior (8 layers of 576
units, full attention). Data: data/cards/ucf101.md. Steps: 100k, then 200k (T9 gives 200k and 600k
for UCF-101 and TGIF). Planned cost (counted, see docs/paper.md; not measured), in days of one v5e
chip: 8.2; published 1.6. The score: evaluate --model=DIR --protocol=10k --is_weights=FILE,MEAN
(docs/evaluation.md).
"""

from configs import paper
from videogpt_jax.config import Experiment


def experiment(size: int) -> Experiment:
  """The paper's model at this resolution."""
  return Experiment(
    name=f'ucf101_{size}',
    dataset=paper.shards(
      f'ucf101_{size}',
      size,
      draw='clips',
      random_crop=True,
      random_flip=True,
      test_start='random',
    ),
    vqvae=paper.vqvae((4, size // 32, size // 32)),
    vqvae_training=paper.vqvae_training(),
    prior=paper.prior(1024, 8, 20, 4096, remat='full'),
    prior_training=paper.prior_training(200_000),
  )


def get_config(variant: str = '128'):
  return paper.chosen({'128': lambda: experiment(128), '64': lambda: experiment(64)}, variant)
