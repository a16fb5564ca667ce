"""The paper's ablations, all on BAIR: a table's name and a row, `configs/ablations.py:layers,4`.

  axial,ROW          T3   with (NMSE 0.0033, R-FVD 14.9), without (0.0041, 15.3)
  layers,ROW         T4   2 (2.84 bits, FVD 120.4), 4 (2.52, 110.0), 8 (2.39, 103.3),
                          16 (2.05, 103.6)
  latent_size,ROW    T5   4x16x16, 16x8x8, 8x16x16, 1x64x64, 4x32x32, 16x16x16, 2x64x64, 8x32x32,
                          4x64x64, 16x32x32
  codes,ROW          T6   256 (R-FVD 18.2), 1024 (14.9), 4096 (11.3)
  codebooks,ROW      T7   1 (8x32x32), 2 (16x16x16), 4 (8x16x16), 8 (4x16x16)

What a row does not name is that of configs/bair.py with 16 layers. Cost: not measured.
"""

import dataclasses

from configs import bair
from videogpt_jax.config import Experiment
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.config import SampleConfig
from videogpt_jax.training.fit import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig

AXIAL = ('with', 'without')
LAYERS = (2, 4, 8, 16)
LATENT_SIZES = (
  '4x16x16',
  '16x8x8',
  '8x16x16',
  '1x64x64',
  '4x32x32',
  '16x16x16',
  '2x64x64',
  '8x32x32',
  '4x64x64',
  '16x32x32',
)
CODES = (256, 1024, 4096)
CODEBOOKS = {1: '8x32x32', 2: '16x16x16', 4: '8x16x16', 8: '4x16x16'}
ROWS = {
  'axial': AXIAL,
  'layers': LAYERS,
  'latent_size': LATENT_SIZES,
  'codes': CODES,
  'codebooks': tuple(CODEBOOKS),
}

PAPER_CODES = 1024

REDUCED = 'reduced'


def experiment(table: str, row: str, reduced: bool = False) -> Experiment:
  """One row of one table.

  Args:
    table, row: of `ROWS`.
    reduced: on the embedded digits instead of BAIR, at a size that a laptop trains in minutes.
  Raises:
    ValueError: there is no such table or row.
  """
  if row not in map(str, ROWS.get(table, ())):
    options = '; '.join(f'{name},{"|".join(map(str, rows))}' for name, rows in ROWS.items())
    raise ValueError(f'ablation ({table},{row}) must be one of {options}')
  base = _reduced() if reduced else bair.experiment(16)
  base = dataclasses.replace(base, name=f'{base.name}_{table}_{row}')
  if table == 'layers':
    prior = dataclasses.replace(base.prior, n_layers=int(row))
    return dataclasses.replace(base, prior=prior)
  return dataclasses.replace(base, vqvae=_vqvae(base.vqvae, table, row))


def get_config(argument: str = 'layers,16'):
  table, row, *size = [*argument.split(','), '']
  if size not in ([''], [REDUCED, '']):
    raise ValueError(f'ablation ({argument}) must be TABLE,ROW or TABLE,ROW,{REDUCED}')
  return experiment(table, row, bool(size[0])).to_config_dict()


def _vqvae(base: VQVAEConfig, table: str, row: str) -> VQVAEConfig:
  """The VQ-VAE of a row of any table but `layers`."""
  changes = {
    'axial': lambda: {} if row == 'with' else _without_attention(base),
    'latent_size': lambda: {'downsample': _downsample(row)},
    'codes': lambda: {'n_codes': int(row) * base.n_codes // PAPER_CODES},
    'codebooks': lambda: {
      'n_codebooks': int(row),
      'downsample': _downsample(CODEBOOKS[int(row)]),
    },
  }
  return dataclasses.replace(base, **changes[table]())


def _without_attention(base: VQVAEConfig) -> dict:
  """More residual layers instead of attention, so that the number of parameters stays (T3).

  Of C channels attention has 12 C^2 parameters a layer and a residual layer 14 C^2, so that 4 of
  both weigh about 7 of these.
  """
  return {'axial_attention': False, 'n_res_layers': round(base.n_res_layers * (12 + 14) / 14)}


def _downsample(latent_size: str) -> tuple[int, ...]:
  sizes = zip((16, 64, 64), map(int, latent_size.split('x')), strict=True)
  return tuple(whole // part for whole, part in sizes)


def _reduced() -> Experiment:
  """The embedded digits, 16 frames of 16x16: the paper's factors make 8x8x8 codes of a clip."""
  training = TrainingConfig(
    steps=400,
    batch_size=8,
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, ema_decay=0.99),
    log_every=100,
    evaluate_every=500,
    evaluate_batches=2,
    checkpoint_every=100,
  )
  return Experiment(
    name='digits',
    dataset=DatasetConfig(
      source='digits', resolution=16, digit_size=8, digit_speed=1.0, n_test_clips=256
    ),
    vqvae=VQVAEConfig(
      n_codes=256, embedding_dim=64, n_hiddens=32, n_res_layers=2, downsample=(2, 2, 2)
    ),
    vqvae_training=training,
    prior=PriorConfig(hidden_dim=64, n_heads=4, n_layers=4, dropout=0.0, attn_dropout=0.0),
    prior_training=dataclasses.replace(training, steps=500, batch_size=4),
    sample=SampleConfig(num=16),
  )
