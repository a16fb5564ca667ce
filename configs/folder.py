"""Any recordings, in two sizes: for a laptop, a VQ-VAE in minutes, then a prior; and for a GPU.

16 frames of 64x64, a 4x16x16 latent. `small` has 512 codes and 2.8 million parameters, `medium`
1,024 and 30 million. Not a row of the paper. docs/data.md shows reconstructions of eight clips
after the steps of `small`; nobody has trained `medium` yet.

The path may be a folder, a list or a file, in every layout of docs/data.md.

  python -m videogpt_jax.inspect_data --config=configs/folder.py --config.dataset.path=MY_VIDEOS
  python -m videogpt_jax.main --config=configs/folder.py --config.dataset.path=MY_VIDEOS
  python -m videogpt_jax.main --config=configs/folder.py:medium --config.dataset.path=MY_VIDEOS
"""

import dataclasses

from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig


def small() -> Experiment:
  return Experiment(
    name='folder',
    dataset=DatasetConfig(
      source='folder', path='MY_VIDEOS', resolution=64, sequence_length=16, random_flip=True
    ),
    vqvae=VQVAEConfig(
      n_codes=512, embedding_dim=64, n_hiddens=64, n_res_layers=1, downsample=(4, 4, 4)
    ),
    vqvae_training=TrainingConfig(
      steps=600,
      batch_size=4,
      optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, ema_decay=0.99),
      log_every=25,
      evaluate_every=200,
      evaluate_batches=4,
      checkpoint_every=200,
    ),
    prior=PriorConfig(hidden_dim=192, n_heads=4, n_layers=4),
    prior_training=TrainingConfig(
      steps=600,
      batch_size=4,
      optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=50, ema_decay=0.99),
      log_every=25,
      evaluate_every=200,
      evaluate_batches=4,
      checkpoint_every=200,
    ),
    sample=SampleConfig(num=4),
  )


def medium() -> Experiment:
  base, optimizer = small(), OptimizerConfig(schedule='cosine', warmup_steps=200, ema_decay=0.999)
  training = TrainingConfig(
    steps=6000,
    batch_size=16,
    optimizer=dataclasses.replace(optimizer, learning_rate=1e-3),
    evaluate_every=1000,
    evaluate_batches=4,
    checkpoint_every=1000,
  )
  return dataclasses.replace(
    base,
    vqvae=dataclasses.replace(base.vqvae, n_codes=1024, n_hiddens=128, n_res_layers=2),
    vqvae_training=training,
    prior=dataclasses.replace(base.prior, hidden_dim=512, n_heads=8, n_layers=8),
    prior_training=dataclasses.replace(
      training,
      steps=12_000,
      optimizer=dataclasses.replace(optimizer, learning_rate=3e-4),
      keep_best=True,  # a few hundred recordings are soon learnt by heart
    ),
    sample=SampleConfig(num=8),
  )


SIZES = {'small': small, 'medium': medium}


def get_config(size: str = 'small'):
  if size not in SIZES:
    raise UserError(f'configs/folder.py has no size {size!r}; sizes are {", ".join(SIZES)}')
  return SIZES[size]().to_config_dict()
