"""The whole job in seconds: for tests of the entry points."""

from videogpt_jax.config import Experiment
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig


def get_config():
  training = TrainingConfig(
    steps=4, batch_size=8, log_every=2, evaluate_every=4, evaluate_batches=1, checkpoint_every=2
  )
  return Experiment(
    name='tiny',
    dataset=DatasetConfig(resolution=16, digit_size=8, sequence_length=4, n_test_clips=11),
    vqvae=VQVAEConfig(
      n_codes=16, embedding_dim=8, n_hiddens=8, n_res_layers=1, downsample=(2, 4, 4)
    ),
    vqvae_training=training,
    prior=PriorConfig(hidden_dim=24, n_heads=2, n_layers=1, n_classes=10),
    prior_training=training,
    sample=SampleConfig(num=3),
  ).to_config_dict()
