"""Codes in a workdir: made once, and anew for another tokenizer."""

import dataclasses
import types

import numpy as np
import pytest
from etils.epath import Path

from tests import tiny_config
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.input.shards import load_manifest
from videogpt_jax.stages import encoded


class Counting:
  """A tokenizer that counts the clips that it encodes."""

  def __init__(self, digest):
    self.digest, self.n_clips = digest, 0
    self.spec = types.SimpleNamespace(n_codes=7, time_grid=None)

  def encode(self, video):
    self.n_clips += len(video)
    return np.round(6 * (np.asarray(video)[:, ::4, ::8, ::8, 0] + 0.5)).astype(np.int32)


def experiment(n_crops):
  config = from_dict(tiny_config.get_config())
  few = dataclasses.replace(config.dataset, n_train_clips=6, n_test_clips=3)
  return dataclasses.replace(config, dataset=few, prior_crops=n_crops)


def made(path, n_crops, tokenizer):
  """The clips that were encoded, and the encoded crops that are there."""
  folder = encoded.in_workdir(experiment(n_crops), tokenizer, Path(path))
  totals = load_manifest(folder).totals()
  return tokenizer.n_clips, [totals[split]['frames'] for split in ('train', 'test')]


def test_codes_of_a_workdir_are_made_once_and_anew_for_other_crops_or_another_tokenizer(tmp_path):
  # Batches are filled up, so that more clips than these may pass.
  n, crops = made(tmp_path, 2, Counting('a'))
  assert n >= 15 and crops == [12, 3]
  assert made(tmp_path, 2, Counting('a')) == (0, [12, 3])
  n, crops = made(tmp_path, 1, Counting('a'))
  assert n >= 9 and crops == [6, 3]
  assert made(tmp_path, 1, Counting('b'))[0] >= 9
  assert load_manifest(str(tmp_path / 'codes')).made_from['tokenizer_sha256'] == 'b'


def test_crops_beside_codes_that_exist_are_refused():
  with pytest.raises(UserError, match=r'prior_crops \(2\) must not be negative, and 0 with'):
    dataclasses.replace(experiment(2), prior_codes='codes')
  with pytest.raises(UserError, match=r'prior_crops \(-1\)'):
    experiment(-1)
