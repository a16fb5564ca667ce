"""A game to play: ViZDoom's Health Gathering Supreme, conditioned on actions, without an end.

  make data-doom
  python -m videogpt_jax.main --config=configs/doom.py
  python -m videogpt_jax.play --model=runs/doom

A step of the game turns the player by a third of what he sees, so that frames have little in
common: the tokenizer, of convolutions alone, takes each by itself (8x8 codes of 16 bits). A modern
prior predicts a code in two factors, and its attention reaches back four frames. Half of the
recordings are played at random, half explore. Not a row of the paper.
"""

import dataclasses

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.vqvae_loss import LossConfig


def get_config():
  training = TrainingConfig(
    steps=2000,
    batch_size=4,
    optimizer=OptimizerConfig(
      learning_rate=2e-3, warmup_steps=50, b2=0.99, clip_norm=1.0, ema_decay=0.999
    ),
    log_every=50,
    evaluate_every=500,
    evaluate_batches=16,
    checkpoint_every=250,
  )
  return Experiment(
    name='doom',
    dataset=paper.shards('doom', antialias=True),
    prior_crops=3,
    vqvae=VQVAEConfig(
      quantizer='fsq',
      levels=(8, 8, 8, 5, 5, 5),
      n_codes=64_000,
      embedding_dim=6,
      n_hiddens=96,
      n_res_layers=4,
      downsample=(1, 8, 8),
      axial_attention=False,
      norm='group',
      time_padding='none',
    ),
    vqvae_loss=LossConfig(gradient_weight=2.0),
    vqvae_training=training,
    prior=PriorConfig(
      hidden_dim=192,
      n_heads=3,
      n_layers=4,
      dropout=0.0,
      attn_dropout=0.0,
      attn_type='window',
      attn_window=4,
      positions='rotary',
      qk_norm=True,
      norm='rms',
      mlp='swiglu',
      action_dim=8,
    ),
    prior_training=dataclasses.replace(
      training,
      steps=4200,
      batch_size=2,
      optimizer=OptimizerConfig(
        learning_rate=2e-3, warmup_steps=100, b2=0.99, clip_norm=1.0, ema_decay=0.999
      ),
      evaluate_every=1000,
      evaluate_batches=32,
      checkpoint_every=500,
    ),
    sample=SampleConfig(num=8, temperature=0.85),
  ).to_config_dict()
