"""The rows of an ablation share what they train alike, and resume."""

import dataclasses
import json

import numpy as np
import pytest
from etils import epath

from tests import tiny_config
from videogpt_jax import workdir
from videogpt_jax.config import from_dict
from videogpt_jax.evaluation.networks import Networks
from videogpt_jax.evaluation.protocols import PROTOCOLS
from videogpt_jax.loading import load_videogpt, load_vqvae
from videogpt_jax.stages import score
from videogpt_jax.stages.ablation import train_and_score

pytestmark = pytest.mark.slow  # two small runs, from the beginning to their scores

SCORING = score.Scoring(PROTOCOLS['all'], Networks())
STAGES = ('vqvae', 'prior')


def _row(n_layers, **changes):
  tiny = from_dict(tiny_config.get_config())
  prior = dataclasses.replace(tiny.prior, n_layers=n_layers)
  return dataclasses.replace(tiny, name=f'layers_{n_layers}', prior=prior, **changes)


@pytest.fixture(scope='module')
def rows(tmp_path_factory):
  """A folder with two rows that differ in the prior alone, and their scores."""
  root = epath.Path(tmp_path_factory.mktemp('rows'))
  return root, [train_and_score(_row(n), root, STAGES, SCORING) for n in (1, 2)]


def _codebook(path):
  return np.asarray(load_vqvae(path).codebook)


def test_rows_that_share_a_tokenizer_train_it_once(rows):
  root, scores = rows
  np.testing.assert_array_equal(_codebook(root / 'layers_1'), _codebook(root / 'layers_2'))
  assert not (root / 'layers_2' / 'tensorboard' / 'vqvae').exists()  # nothing was trained there
  assert scores[0]['reconstruction_nmse'] == pytest.approx(scores[1]['reconstruction_nmse'])
  assert scores[0]['prior_bits_per_code'] != scores[1]['prior_bits_per_code']


def test_each_row_is_scored_with_its_own_prior(rows):
  root, _ = rows
  for n_layers in (1, 2):
    model = load_videogpt(root / f'layers_{n_layers}')
    assert model.config.n_layers == n_layers
    record = json.loads((root / f'layers_{n_layers}' / 'evaluation.json').read_text())
    assert score.is_scored(record, root / f'layers_{n_layers}', SCORING)
    other = dataclasses.replace(SCORING, seed=1)
    assert not score.is_scored(record, root / f'layers_{n_layers}', other)


def test_a_row_that_has_ended_is_only_read(rows, monkeypatch):
  root, scores = rows
  monkeypatch.setattr(score, 'score_workdir', None)
  assert train_and_score(_row(2), root, STAGES, SCORING) == scores[1]


def test_only_what_was_trained_alike_and_to_the_end_is_taken_over(rows, tmp_path):
  root, _ = rows
  others, tmp_path = sorted(root.iterdir()), epath.Path(tmp_path)
  same = dataclasses.replace(_row(2), name='another_name')
  assert workdir.adopt(tmp_path / 'same', same, others) == ['vqvae', 'prior']
  assert workdir.adopt(tmp_path / 'same', same, others) == []  # it has them now
  assert workdir.adopt(tmp_path / 'seed', dataclasses.replace(same, seed=1), others) == []
  longer = dataclasses.replace(same.vqvae_training, steps=5)
  longer = dataclasses.replace(same, vqvae_training=longer)
  assert workdir.adopt(tmp_path / 'longer', longer, others) == []
  assert workdir.adopt(tmp_path / 'three', _row(3), others) == ['vqvae']
  assert load_videogpt(tmp_path / 'same').config.n_layers == 2


def test_likelihoods_carry_their_units(rows):
  _, (scores, _) = rows
  nats = scores['prior_nats_per_code']
  assert scores['prior_bits_per_code'] == pytest.approx(nats / np.log(2))
  # 2x4x4 codes of clips of 4x16x16 in colour.
  in_pixels = scores['prior_bits_per_code'] * 2 * 4 * 4 / (4 * 16 * 16 * 3)
  assert scores['prior_bits_per_pixel_dim'] == pytest.approx(in_pixels)
  assert 0 < scores['codebook_usage'] <= 1 <= scores['codebook_perplexity']
