"""The configurations of the paper's rows, against tables T3 to T9."""

import importlib
import pathlib
import re

import jax
import numpy as np
import pytest
from flax import nnx

from configs import ablations
from videogpt_jax.config import from_dict
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.vqvae import VQVAE

# Configuration, its argument -> latent grid, hidden units, feed-forward units and layers (T8, T9).
ROWS = {
  ('bair',): ((8, 32, 32), 512, 2048, 8),
  ('bair', 'table9'): ((8, 32, 32), 512, 2048, 16),
  ('bair', 'published'): ((4, 32, 32), 576, 4 * 576, 8),
  ('ucf101',): ((4, 32, 32), 1024, 4096, 20),
  ('ucf101', '64'): ((4, 32, 32), 1024, 4096, 20),
  ('ucf101', 'published'): ((4, 32, 32), 576, 4 * 576, 8),
  ('tgif',): ((4, 32, 32), 1024, 4096, 20),
  ('vizdoom_hgs',): ((8, 32, 32), 512, 2048, 16),
  ('vizdoom_battle2',): ((8, 32, 32), 512, 2048, 16),
  ('robonet',): ((8, 32, 32), 512, 2048, 16),
  ('moving_mnist',): ((4, 16, 16), 192, 384, 8),
  ('kinetics600',): ((4, 32, 32), 1024, 4096, 20),
  ('kinetics600', 'stride2x4x4'): ((8, 32, 32), 1024, 4096, 20),
}


def _experiment(name, *argument):
  return from_dict(importlib.import_module(f'configs.{name}').get_config(*argument))


def _n_parameters(module):
  return sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.mark.parametrize('row', ROWS, ids='-'.join)
def test_a_row_has_the_tables_sizes(row):
  experiment = _experiment(*row)
  latent, hidden, mlp, n_layers = ROWS[row]
  assert experiment.codes.latent_shape == latent
  prior = nnx.eval_shape(lambda: Prior(experiment.prior, experiment.codes, rngs=nnx.Rngs(0)))
  # Queries, keys, values and output; two feed-forward products. Biases and norms are under 2 %.
  implied = n_layers * (4 * hidden**2 + 2 * hidden * mlp)
  if experiment.prior.n_cond_frames:  # cross-attention, whose values keep the features' size
    implied += n_layers * (hidden + experiment.prior.resnet_dim) ** 2
  blocks = _n_parameters(prior.blocks)
  conditioning = experiment.prior.action_dim and blocks - implied
  assert implied <= blocks <= 1.02 * implied + conditioning


@pytest.mark.parametrize('row', ROWS, ids='-'.join)
def test_the_data_lie_where_their_card_puts_them(row):
  dataset = _experiment(*row).dataset
  cards = pathlib.Path(__file__).parents[1] / 'data' / 'cards'
  commands = ' '.join(card.read_text() for card in sorted(cards.glob('*.md')))
  stored = dict(re.findall(r'--out=(\S+)[\s\\]+--resolution=(\d+)', commands))
  assert int(stored[dataset.path]) == dataset.resolution


def _implied_by_table_8(config):
  """Parameters of a VQ-VAE, counted from T8's sizes: 4x4x4 strided and 3x3x3 convolutions."""
  C, E, n_halvings = config.n_hiddens, config.embedding_dim, len(config.strides())
  strided = (64 * 3 * C + C) + (n_halvings - 1) * (64 * C * C + C)
  transposed = (64 * 3 * C + 3) + (n_halvings - 1) * (64 * C * C + C)
  residual = 27 * C * C // 2 + C * C // 2 + 2 * C + C  # two convolutions and their norms
  if config.axial_attention:
    residual += 3 * (4 * C * C + C) + 2 * C  # along w, h and t; and its norm
  stack = config.n_res_layers * residual + 2 * C
  quantised = (C * E + E) + (E * C + C)
  return strided + (27 * C * C + C) + 2 * stack + quantised + transposed


_VQVAES = [*ROWS] + [
  ('ablations', f'{table},{row}') for table, rows in ablations.PAPER.items() for row in rows
]


@pytest.mark.parametrize('row', _VQVAES, ids='-'.join)
def test_a_vqvae_has_the_parameters_that_the_tables_imply(row):
  config = _experiment(*row).vqvae
  model = nnx.eval_shape(lambda: VQVAE(config, rngs=nnx.Rngs(0)))
  assert _n_parameters(model) == _implied_by_table_8(config)
  # The codes are learnt by moving averages, outside of the optimiser.
  assert model.codebook.embeddings.shape == (
    config.n_codebooks,
    config.n_codes,
    config.embedding_dim // config.n_codebooks,
  )


def test_codebooks_have_the_tables_sizes():
  for n_codes in map(int, ablations.PAPER['codes']):
    vqvae = from_dict(ablations.get_config(f'codes,{n_codes}')).vqvae
    assert (vqvae.n_codes, vqvae.embedding_dim, vqvae.n_codebooks) == (n_codes, 256, 1)


def test_latent_sizes_are_those_of_their_rows():
  for row in ablations.PAPER['latent_size']:
    grid = ablations.experiment('latent_size', row).codes.latent_shape
    assert 'x'.join(map(str, grid)) == row
  for n, row in ablations.CODEBOOKS.items():
    codes = ablations.experiment('codebooks', n).codes
    assert 'x'.join(map(str, codes.latent_shape[:3])) == row
    assert codes.latent_shape[3:] == ((int(n),) if n != '1' else ())
    assert codes.embedding_dim * int(n) == 256
  for n in ablations.PAPER['layers']:
    assert ablations.experiment('layers', n).prior.n_layers == int(n)


def test_attention_left_out_leaves_the_number_of_parameters():
  sizes = []
  for row in ablations.PAPER['axial']:
    config = ablations.experiment('axial', row).vqvae
    sizes.append(_n_parameters(nnx.eval_shape(lambda c=config: VQVAE(c, rngs=nnx.Rngs(0)))))
  assert sizes[1] == pytest.approx(sizes[0], rel=0.07)


def test_rows_that_do_not_exist_are_refused():
  with pytest.raises(ValueError, match=r'ablation \(layers,3\) must be one of axial,without'):
    ablations.get_config('layers,3')
  with pytest.raises(ValueError, match='variant'):
    _experiment('bair', 'table2')
