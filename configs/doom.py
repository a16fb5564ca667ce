"""A game to play: ViZDoom's Health Gathering Supreme, conditioned on actions, without an end.

  make data-doom
  python -m videogpt_jax.main --config=configs/doom.py
  python -m videogpt_jax.play --model=runs/doom

A causal FSQ tokenizer of two frames a latent frame (2x16x16 codes of 4 frames, 1,000 values) and a
modern prior whose attention reaches back four latent frames. Half of the recordings are played at
random, half explore. Not a row of the paper. The tokenizer's steps take an hour and a quarter on
two cores (0.5 steps a second); the prior's have not been timed. Nobody has trained either to its
end yet, so that there are no scores.
"""

import dataclasses

from configs import paper
from configs.tokenizers import CAUSAL
from videogpt_jax.config import Experiment
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig


def get_config():
  training = TrainingConfig(
    steps=2200,
    batch_size=8,
    optimizer=OptimizerConfig(
      learning_rate=1e-3, schedule='cosine', warmup_steps=100, clip_norm=1.0, ema_decay=0.999
    ),
    log_every=50,
    evaluate_every=500,
    evaluate_batches=4,
    checkpoint_every=500,
  )
  return Experiment(
    name='doom',
    dataset=paper.shards('doom'),
    vqvae=VQVAEConfig(
      quantizer='fsq',
      levels=(8, 5, 5, 5),
      n_codes=1000,
      embedding_dim=4,
      n_hiddens=64,
      n_res_layers=2,
      downsample=(2, 4, 4),
      **CAUSAL,
    ),
    vqvae_training=training,
    prior=PriorConfig(
      hidden_dim=256,
      n_heads=4,
      n_layers=6,
      dropout=0.0,
      attn_dropout=0.0,
      attn_type='window',
      attn_window=4,
      positions='rotary',
      qk_norm=True,
      norm='rms',
      mlp='swiglu',
      action_dim=8,
      history=8,
    ),
    prior_training=dataclasses.replace(training, batch_size=4),
    sample=SampleConfig(num=8, strategy='speculative'),
  ).to_config_dict()
