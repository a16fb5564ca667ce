"""A workdir of before checkpoints had a format version: it loads, resumes and lends its shards."""

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import videogpt_jax
from tests.legacy.config import get_config
from videogpt_jax.config import from_dict
from videogpt_jax.stages.run import run

LEGACY = Path('tests/legacy')

EXPERIMENT = from_dict(get_config())


@pytest.fixture(scope='module')
def expected():
  return dict(np.load(LEGACY / 'expected.npz'))


@pytest.fixture
def folder(tmp_path):
  zipfile.ZipFile(LEGACY / 'workdir.zip').extractall(tmp_path)
  return tmp_path


def same(found, wanted):
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_its_tokenizer_loads(folder, expected):
  """The averaged parameters, with the statistics and codebook that were not averaged then."""
  vqvae = videogpt_jax.load_vqvae(folder / 'run')
  same(vqvae.decode(expected['codes']), expected['video'])
  made_from = json.loads((folder / 'codes' / 'manifest.json').read_text())['made_from']
  assert vqvae.codebook_sha256 == made_from['codebook_sha256']


@pytest.mark.slow
def test_its_prior_resumes_with_its_optimiser(folder, expected):
  """From step 2 to the end, where it is the prior of the run that was never interrupted."""
  run(EXPERIMENT, folder / 'run', ['vqvae', 'prior'])
  gpt = videogpt_jax.load_videogpt(folder / 'run')
  label = expected['label']
  same(gpt.logits(expected['codes'], class_label=label), expected['logits'])
  same(gpt.vqvae.decode(expected['codes']), expected['video'])
  greedy = gpt.sample_codes(2, class_label=label, temperature=0)
  np.testing.assert_array_equal(greedy, expected['greedy'])
  kept = {path.name for path in (folder / 'run' / 'prior' / 'checkpoints').iterdir()}
  assert kept == {'2', '4'}


@pytest.mark.slow
def test_a_prior_trains_on_its_shards(folder):
  shutil.rmtree(folder / 'run' / 'prior')
  on_codes = dataclasses.replace(EXPERIMENT, prior_codes=str(folder / 'codes'))
  run(on_codes, folder / 'run', ['vqvae', 'prior'])
  scores = json.loads((folder / 'run' / 'metrics.json').read_text())
  assert 0 < scores['prior_bits_per_code'] < 8
