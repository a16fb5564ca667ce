"""Metrics.json stays JSON, losses are all shown, and a package that is missing is named."""

import json
import math
import sys

import numpy as np
import pytest
from etils.epath import Path

import videogpt_jax.training
from videogpt_jax.errors import UserError
from videogpt_jax.files import write_json
from videogpt_jax.stages import train_vqvae
from videogpt_jax.stages.summary import summary
from videogpt_jax.training.logging import RunLog, read_metrics, record_metrics


def strict(file):
  """Reads JSON as every other program does: NaN and Infinity are none."""

  def refuse(name):
    raise AssertionError(f'{name} is not JSON')

  return json.loads(file.read_text(), parse_constant=refuse)


def test_figures_that_are_no_numbers_become_null_with_a_warning(tmp_path, capsys):
  folder = Path(tmp_path)
  record_metrics(folder, {'reconstruction_psnr': math.inf, 'prior_nats_per_code': math.nan})
  record_metrics(folder, {'codebook_usage': 0.5})
  assert strict(tmp_path / 'metrics.json') == {
    'reconstruction_psnr': None,
    'prior_nats_per_code': None,
    'codebook_usage': 0.5,
  }
  printed = capsys.readouterr().out.splitlines()
  assert len(printed) == 2
  assert printed[0] == 'warning: reconstruction_psnr is inf; metrics.json gets null'
  found = read_metrics(folder)
  assert math.isnan(found['reconstruction_psnr']) and found['codebook_usage'] == 0.5
  assert 'reconstruction_psnr' in summary(folder, 1.0)


def test_figures_that_older_versions_wrote_are_read(tmp_path):
  (tmp_path / 'metrics.json').write_text('{"reconstruction_psnr": Infinity}')
  record_metrics(Path(tmp_path), {'codebook_usage': 0.5})
  assert strict(tmp_path / 'metrics.json') == {'reconstruction_psnr': None, 'codebook_usage': 0.5}


def test_no_json_file_holds_nan_however_deep(tmp_path):
  write_json(Path(tmp_path / 'x.json'), {'a': [1.0, {'b': (math.nan, -math.inf)}], 'c': 'NaN'})
  assert strict(tmp_path / 'x.json') == {'a': [1.0, {'b': [None, None]}], 'c': 'NaN'}


def test_the_loss_of_every_update_is_shown(tmp_path, capsys):
  with RunLog('vqvae', 10, Path(tmp_path)) as log:
    log.progress(1, {'generator/loss': 0.5, 'generator/learning_rate': 9.0, 'critic/loss': 2.0})
    log.progress(2, {'loss': 0.25, 'perplexity': 9.0})
  first, second = capsys.readouterr().out.splitlines()
  assert first.endswith('compiled  generator/loss 0.5000  critic/loss 2.0000')
  assert second.endswith('left  loss 0.2500')


@pytest.mark.parametrize(
  ('codes', 'n_codes', 'said'),
  [
    ([0] * 91 + list(range(9)), 100, '9.0% of the codes; lower vqvae.n_codes'),
    ([0] * 90 + list(range(10)), 100, None),
    (list(range(20)), 2**18, None),  # as many as 20 latents can use
    ([0] * 19 + [1], 1000, None),  # a tenth of them
    ([0] * 30 + [1], 1000, '0.2% of the codes of 3.1% that they could; lower vqvae.n_codes'),
  ],
)
def test_a_codebook_that_is_hardly_used_is_warned_of(codes, n_codes, said, tmp_path, capsys):
  """Whatever the number of latents, and with averages over clips as evaluations have them."""
  counts, n_clips = np.bincount(codes, minlength=n_codes), 7
  scores = {'reconstruction_loss': 0.1, 'psnr': 20.0, 'code_counts': counts / n_clips}
  with RunLog('vqvae', 10, Path(tmp_path)) as log:
    log.scores(1, train_vqvae.summarise(scores, n_clips))
  printed = capsys.readouterr().out
  assert f'warning: held-out clips use {said}' in printed if said else 'warning' not in printed


def test_training_without_its_packages_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'clu', None)  # as if it were not installed
  monkeypatch.delitem(sys.modules, 'videogpt_jax.training.tensorboard', raising=False)
  monkeypatch.delattr(videogpt_jax.training, 'tensorboard', raising=False)
  with pytest.raises(UserError, match=r"needs clu: pip install '\.\[train\]'"):
    RunLog('vqvae', 10, Path(tmp_path))
  RunLog('vqvae', 10, Path(tmp_path), writes=False)  # which needs none
