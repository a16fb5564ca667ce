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

from configs import bair, paper
from videogpt_jax.config import Experiment

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

# Without attention, extra residual layers keep the parameters (T3): of 240 channels, attention has
# 0.69 million a layer and a residual layer 0.81 million, so that 4 of both weigh about 7 of these.
_LAYERS_WITHOUT_ATTENTION = 7


def experiment(table: str, row: str) -> Experiment:
  """One row of one table.

  Raises:
    ValueError: there is no such table or row.
  """
  if row not in map(str, ROWS.get(table, ())):
    options = '; '.join(f'{name},{"|".join(map(str, rows))}' for name, rows in ROWS.items())
    raise ValueError(f'ablation ({table},{row}) must be one of {options}')
  base = dataclasses.replace(bair.experiment(16), name=f'bair_{table}_{row}')
  if table == 'layers':
    return dataclasses.replace(base, prior=bair.experiment(int(row)).prior)
  vqvae = {
    'axial': lambda: _without_attention() if row == 'without' else base.vqvae,
    'latent_size': lambda: paper.vqvae(_downsample(row)),
    'codes': lambda: paper.vqvae((2, 2, 2), n_codes=int(row)),
    'codebooks': lambda: paper.vqvae(_downsample(CODEBOOKS[int(row)]), n_codebooks=int(row)),
  }
  return dataclasses.replace(base, vqvae=vqvae[table]())


def get_config(argument: str = 'layers,16'):
  table, _, row = argument.partition(',')
  return experiment(table, row).to_config_dict()


def _without_attention():
  return paper.vqvae((2, 2, 2), axial_attention=False, n_res_layers=_LAYERS_WITHOUT_ATTENTION)


def _downsample(latent_size: str) -> tuple[int, ...]:
  sizes = zip((16, 64, 64), map(int, latent_size.split('x')), strict=True)
  return tuple(whole // part for whole, part in sizes)
