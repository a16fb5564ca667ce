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
from videogpt_jax.errors import UserError
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig

# Configuration, its argument -> latent grid, hidden units, feed-forward units and layers (T8, T9).
ROWS = {
  ('bair',): ((8, 32, 32), 512, 2048, 8),
  ('bair', 'table9'): ((8, 32, 32), 512, 2048, 16),
  ('bair', 'published'): ((4, 32, 32), 576, 4 * 576, 8),
  ('moving_mnist', 'published'): ((4, 16, 16), 576, 4 * 576, 8),
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
  ('kinetics600', 'published'): ((4, 32, 32), 576, 4 * 576, 8),
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
  if experiment.prior.n_cond_frames:
    features = experiment.prior.resnet_dim
    if experiment.prior.head_dim:  # queries and output; keys and values of the features
      implied += n_layers * (2 * hidden**2 + 2 * hidden * features)
    else:  # values that keep the features' size
      implied += n_layers * (hidden + features) ** 2
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


def _implied_by_table_8(config, grid):
  """Parameters of a VQ-VAE, counted from T8's sizes: 4x4x4 strided and 3x3x3 convolutions."""
  C, E, n_halvings = config.n_hiddens, config.embedding_dim, len(config.strides())
  strided = (64 * 3 * C + C) + (n_halvings - 1) * (64 * C * C + C)
  transposed = (64 * 3 * C + 3) + (n_halvings - 1) * (64 * C * C + C)
  inner = config.residual_units
  residual = 27 * C * inner + inner * C + 2 * C + 2 * inner  # two convolutions and their norms
  if config.axial_attention:
    residual += 3 * (4 * C * C + C) + 2 * C  # along w, h and t; and its norm
  stack = config.n_res_layers * residual + 2 * C
  quantised = (C * E + E) + (config.post_vq_kernel**3 * E * C + C)
  if config.axial_positions:
    quantised += sum(grid) * C // 3
  return strided + (27 * C * C + C) + 2 * stack + quantised + transposed


_VQVAES = [*ROWS] + [
  ('ablations', f'{table},{row}') for table, rows in ablations.PAPER.items() for row in rows
]


@pytest.mark.parametrize('row', _VQVAES, ids='-'.join)
def test_a_vqvae_has_the_parameters_that_the_tables_imply(row):
  experiment = _experiment(*row)
  config, grid = experiment.vqvae, experiment.codes.latent_shape[:3]
  model = nnx.eval_shape(lambda: VQVAE(config, grid, rngs=nnx.Rngs(0)))
  assert _n_parameters(model) == _implied_by_table_8(config, grid)
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
    assert codes.embedding_dim == 256  # of each codebook, as in VideoGPT-Paper
  for n in ablations.PAPER['layers']:
    assert ablations.experiment('layers', n).prior.n_layers == int(n)


def test_attention_left_out_leaves_the_number_of_parameters():
  sizes = []
  for row in ablations.PAPER['axial']:
    found = ablations.experiment('axial', row)
    create = lambda e=found: VQVAE(e.vqvae, e.codes.latent_shape, rngs=nnx.Rngs(0))
    sizes.append(_n_parameters(nnx.eval_shape(create)))
  assert sizes[1] == pytest.approx(sizes[0], rel=0.07)


PAPER_CODE = [row for row in ROWS if row[-1] != 'published' and row[0] != 'kinetics600']
"""Rows that are VideoGPT-Paper's: all but the published VideoGPT's."""

# Dropout; learning rate of the VQ-VAE; prior steps; ResNet units (0: none); layers, where they are
# not the tables' common ones.
TABLES = {'dropout': 0.2, 'rate': 7e-4, 'steps': 150_000, 'resnet': 0}
OWN = {
  ('bair',): {'rate': 3e-4, 'steps': 200_000, 'resnet': 576},  # the headline: the code's own
  ('bair', 'table9'): {'resnet': 512},
  ('ucf101',): {'steps': 200_000},
  ('ucf101', '64'): {'steps': 200_000},
  ('tgif',): {'steps': 600_000},
  ('robonet',): {'resnet': 512},
  ('moving_mnist',): {'dropout': 0.1, 'steps': 80_000, 'resnet': 512},
}


@pytest.mark.parametrize('row', PAPER_CODE, ids='-'.join)
class TestRowsOfVideoGPTPaper:
  def test_regularisation_and_learning_rates(self, row):
    experiment, expected = _experiment(*row), TABLES | OWN.get(row, {})
    prior, training = experiment.prior, experiment.prior_training
    assert (prior.dropout, prior.attn_dropout) == (expected['dropout'], 0)
    for stage, rate, schedule in (
      (experiment.vqvae_training, expected['rate'], 'constant'),
      (training, 3e-4, 'cosine'),
    ):
      optimizer = stage.optimizer
      assert (optimizer.learning_rate, optimizer.schedule) == (rate, schedule)
      assert (optimizer.b1, optimizer.b2, optimizer.clip_norm) == (0.9, 0.999, 1)
      assert optimizer.warmup_steps == optimizer.weight_decay == optimizer.ema_decay == 0
      assert stage.batch_size == 32
      assert stage.keep_best and (stage.evaluate_every, stage.evaluate_batches) == (10_000, -1)
    assert training.steps == expected['steps']
    assert (prior.resnet_dim if prior.n_cond_frames else 0) == expected['resnet']

  def test_models(self, row):
    experiment = _experiment(*row)
    vqvae, prior = experiment.vqvae, experiment.prior
    attention = row != ('moving_mnist',)
    assert (vqvae.residual_dim, vqvae.post_vq_kernel, vqvae.n_codebooks) == (128, 3, 1)
    assert vqvae.axial_attention == vqvae.axial_positions == attention
    assert prior.attn_type == 'sparse' and (prior.attn_block, prior.n_local_blocks) == (32, 4)
    assert prior.head_dim * prior.n_heads == prior.hidden_dim and not prior.attn_bias
    assert prior.codebook_axis and prior.action_form == ('clip' if prior.action_dim else 'before')
    if prior.n_cond_frames:
      assert (prior.n_cond_frames, prior.resnet_grid) == (1, (1, 16, 16))

  def test_augmentation(self, row):
    data = _experiment(*row).dataset
    ucf101, random = row[0] == 'ucf101', row[0] in ('bair', 'ucf101')
    assert data.random_crop == data.random_flip == ucf101
    assert data.draw == ('clips' if ucf101 else 'recordings')
    assert data.random_start and data.test_start == ('random' if random else 'first')


@pytest.mark.parametrize('name', sorted({name for name, *_ in ROWS}))
def test_the_published_code_is_a_variant_of_every_row(name):
  row, published = _experiment(name), _experiment(name, 'published')
  down = {'downsample': published.vqvae.downsample}
  assert published.vqvae == VQVAEConfig(**down)
  names = ('n_classes', 'action_dim', 'action_form', 'n_cond_frames')
  assert published.prior == PriorConfig(**{n: getattr(row.prior, n) for n in names})
  assert published.prior.attn_dropout == 0.3 and published.prior.attn_type == 'full'
  assert published.vqvae_training.optimizer.learning_rate == 3e-4
  assert not (published.dataset.random_crop or published.dataset.random_flip)


def test_rows_that_do_not_exist_are_refused():
  with pytest.raises(ValueError, match=r'ablation \(layers,3\) must be one of axial,without'):
    ablations.get_config('layers,3')
  with pytest.raises(ValueError, match='variant'):
    _experiment('bair', 'table2')


def test_a_folder_has_two_sizes():
  sizes = {}
  for size in ('small', 'medium'):
    of = _experiment('folder', size)
    prior = nnx.eval_shape(lambda of=of: Prior(of.prior, of.codes, rngs=nnx.Rngs(0)))
    grid = of.codes.latent_shape
    vqvae = nnx.eval_shape(lambda of=of, grid=grid: VQVAE(of.vqvae, grid, rngs=nnx.Rngs(0)))
    sizes[size] = round((_n_parameters(prior) + _n_parameters(vqvae)) / 1e6, 1)
  assert sizes == {'small': 2.8, 'medium': 30.1}  # as the file says
  with pytest.raises(UserError, match="no size 'large'; sizes are small, medium"):
    _experiment('folder', 'large')
