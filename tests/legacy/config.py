"""The configuration that tests/legacy/workdir.zip was trained with."""

import dataclasses

from tests import tiny_config
from videogpt_jax.config import from_dict
from videogpt_jax.training.optimizer import OptimizerConfig


def get_config():
  tiny = from_dict(tiny_config.get_config())
  averaged = OptimizerConfig(ema_decay=0.9, clip_norm=1.0, warmup_steps=1)
  lowered = OptimizerConfig(clip_norm=1.0, warmup_steps=1, state_dtype='bfloat16')
  return dataclasses.replace(
    tiny,
    name='legacy',
    dataset=dataclasses.replace(tiny.dataset, n_train_clips=24),
    vqvae_training=dataclasses.replace(tiny.vqvae_training, optimizer=averaged),
    prior_training=dataclasses.replace(tiny.prior_training, optimizer=lowered),
  ).to_config_dict()
