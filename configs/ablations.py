"""The paper's ablations on BAIR, tables T3 to T7. The argument selects a row.

  python -m videogpt_jax.ablate --table=T4                                 all rows, as a table
  python -m videogpt_jax.main --config=configs/ablations.py:layers,4      one of them
  python -m videogpt_jax.ablate --table=T4 --reduced                      on the embedded digits

Rows change single settings of configs/bair.py:table9, which has 16 layers (VideoGPT-Paper's prior
has 8). `PAPER` has the rows and their scores, docs/paper.md results of the reduced rows. Codebooks
of T7 are as wide as a single one, as in VideoGPT-Paper; the paper's text splits the width among
them. Steps: 100k, then 150k (T3 needs no prior). Planned cost (counted, see docs/paper.md; not
measured), in days of one v5e chip: T3 0.7, T4 10, T5 50, T6 15,
T7 20. All tables but T3 include the 5.1 days of a common row.
"""

import dataclasses

from configs import bair
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig

PAPER: dict[str, dict[str, dict[str, float | tuple[float, float]]]] = {
  'axial': {
    'without': {'nmse': 0.0041, 'r_fvd': 15.3},
    'with': {'nmse': 0.0033, 'r_fvd': 14.9},
  },
  'layers': {
    '2': {'bits_per_code': 2.84, 'fvd': (120.4, 6.0)},
    '4': {'bits_per_code': 2.52, 'fvd': (110.0, 2.4)},
    '8': {'bits_per_code': 2.39, 'fvd': (103.3, 2.2)},
    '16': {'bits_per_code': 2.05, 'fvd': (103.6, 2.0)},
  },
  'latent_size': {
    '4x16x16': {'r_fvd': 82.1, 'fvd': 135.4, 'fvd_star': 81.8},
    '16x8x8': {'r_fvd': 108.1, 'fvd': 166.9, 'fvd_star': 81.6},
    '8x16x16': {'r_fvd': 49.9, 'fvd': 124.7, 'fvd_star': 90.2},
    '1x64x64': {'r_fvd': 41.6, 'fvd': 126.7, 'fvd_star': 98.1},
    '4x32x32': {'r_fvd': 28.3, 'fvd': 104.6, 'fvd_star': 90.6},
    '16x16x16': {'r_fvd': 32.8, 'fvd': 113.4, 'fvd_star': 94.9},
    '2x64x64': {'r_fvd': 22.4, 'fvd': 124.3, 'fvd_star': 104.4},
    '8x32x32': {'r_fvd': 14.9, 'fvd': 103.6, 'fvd_star': 94.6},
    '4x64x64': {'r_fvd': 15.7, 'fvd': 109.4, 'fvd_star': 102.3},
    '16x32x32': {'r_fvd': 10.1, 'fvd': 118.4, 'fvd_star': 113.8},
  },
  'codes': {
    '256': {'r_fvd': 18.2, 'fvd': 103.8, 'bits_per_code': 1.55},
    '1024': {'r_fvd': 14.9, 'fvd': 103.6, 'bits_per_code': 2.05},
    '4096': {'r_fvd': 11.3, 'fvd': 103.9, 'bits_per_code': 2.60},
  },
  'codebooks': {
    '1': {'r_fvd': 14.9, 'fvd': 103.6, 'bits_per_code': 2.05},
    '2': {'r_fvd': 17.2, 'fvd': 106.3, 'bits_per_code': 2.41},
    '4': {'r_fvd': 17.7, 'fvd': 131.4, 'bits_per_code': 2.68},
    '8': {'r_fvd': 23.1, 'fvd': 135.7, 'bits_per_code': 2.97},
  },
}
"""The figures of T3 to T7 by row; (mean, standard deviation) if the paper gives both.

Bits per code are taken to be what the paper calls "bits/dim".
"""

TABLES = {'T3': 'axial', 'T4': 'layers', 'T5': 'latent_size', 'T6': 'codes', 'T7': 'codebooks'}

CODEBOOKS = {'1': '8x32x32', '2': '16x16x16', '4': '8x16x16', '8': '4x16x16'}
"""The latent size of each row of T7."""

_PAPER_CODES = 1024

REDUCED = 'reduced'


def experiment(table: str, row: str, reduced: bool = False) -> Experiment:
  """Returns one row of a table.

  Args:
    table, row: of `PAPER`.
    reduced: small models on the embedded digits instead of BAIR, which train in minutes.
  Raises:
    UserError: there is no such table or row.
  """
  if row not in PAPER.get(table, ()):
    options = '; '.join(f'{name},{"|".join(rows)}' for name, rows in PAPER.items())
    raise UserError(f'ablation ({table},{row}) must be one of {options}')
  base = _reduced() if reduced else bair.table9()
  base = dataclasses.replace(base, name=f'{base.name}_{table}_{row}')
  if table == 'layers':
    prior = dataclasses.replace(base.prior, n_layers=int(row))
    return dataclasses.replace(base, prior=prior)
  return dataclasses.replace(base, vqvae=_vqvae(base.vqvae, table, row))


def get_config(argument: str = 'layers,16'):
  table, row, *size = [*argument.split(','), '']
  if size not in ([''], [REDUCED, '']):
    raise UserError(f'ablation ({argument}) must be TABLE,ROW or TABLE,ROW,{REDUCED}')
  return experiment(table, row, bool(size[0])).to_config_dict()


def _vqvae(base: VQVAEConfig, table: str, row: str) -> VQVAEConfig:
  """Returns the VQ-VAE of a row of any table except `layers`."""
  changes = {
    'axial': lambda: {} if row == 'with' else _without_attention(base),
    'latent_size': lambda: {'downsample': _downsample(row)},
    'codes': lambda: {'n_codes': int(row) * base.n_codes // _PAPER_CODES},
    'codebooks': lambda: {
      'n_codebooks': int(row),
      'embedding_dim': int(row) * base.embedding_dim,
      'downsample': _downsample(CODEBOOKS[row]),
    },
  }
  return dataclasses.replace(base, **changes[table]())


def _without_attention(base: VQVAEConfig) -> dict:
  """Replaces attention by more residual layers, with about as many parameters (T3).

  With C channels and R residual units, attention has 12 C^2 parameters per layer and a residual
  layer 28 C R: 4 layers of both have about as many as 7 residual layers.
  """
  C, R, n_layers = base.n_hiddens, base.residual_units, base.n_res_layers
  return {
    'axial_attention': False,
    'axial_positions': False,
    'n_res_layers': round(n_layers * (12 * C + 28 * R) / (28 * R)),
  }


def _downsample(latent_size: str) -> tuple[int, ...]:
  sizes = zip((16, 64, 64), map(int, latent_size.split('x')), strict=True)
  return tuple(whole // part for whole, part in sizes)


def _reduced() -> Experiment:
  """The embedded digits, 16 frames of 16x16, which the paper's factors reduce to 8x8x8 codes."""
  training = TrainingConfig(
    steps=400,
    batch_size=8,
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, ema_decay=0.99),
    log_every=50,
    evaluate_every=400,
    evaluate_batches=2,
    checkpoint_every=50,
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
    prior_training=dataclasses.replace(training, steps=250, batch_size=4),
    sample=SampleConfig(num=16),
  )
