"""Any recordings, at a size that a laptop trains: a VQ-VAE in minutes, then a prior.

16 frames of 64x64, a 4x16x16 latent, 512 codes. Not a row of the paper. docs/data.md shows
reconstructions of eight clips.

The path may be a folder, a list or a file, in every layout of docs/data.md.

  python -m videogpt_jax.inspect_data --config=configs/folder.py --config.dataset.path=MY_VIDEOS
  python -m videogpt_jax.main --config=configs/folder.py --config.dataset.path=MY_VIDEOS
"""

from videogpt_jax.config import Experiment
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig


def get_config():
  return Experiment(
    name='folder',
    dataset=DatasetConfig(
      source='folder', path='videos', resolution=64, sequence_length=16, random_flip=True
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
  ).to_config_dict()
