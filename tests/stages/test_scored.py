"""A model is scored on the data set that it states, or else on one that is stated for it."""

import dataclasses
import re

import pytest
from etils import epath

from tests import tiny_config
from videogpt_jax import workdir
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.stages.scored import check_clips, scored
from videogpt_jax.tokenizer import abstract_tokenizer

TINY = from_dict(tiny_config.get_config())


def with_data(**changes):
  return dataclasses.replace(TINY, dataset=dataclasses.replace(TINY.dataset, **changes))


def test_one_data_set_is_stated(tmp_path):
  run, noise, out = (epath.Path(tmp_path / name) for name in ('run', 'noise', 'out'))
  file = epath.Path(tmp_path / 'file.ckpt')
  workdir.claim(run, TINY)
  workdir.claim(noise, with_data(source='random'))
  assert not scored(run, run).stated and scored(run, run).is_run
  assert scored(noise, noise, TINY).experiment == TINY
  assert scored(file, out, TINY).stated and not scored(file, out, TINY).is_run
  with pytest.raises(UserError, match='run states its own data set; omit --config'):
    scored(run, run, TINY)
  with pytest.raises(UserError, match=r'noise states noise as its data set, .* with --config'):
    scored(noise, noise)
  with pytest.raises(UserError, match=r'file\.ckpt is a checkpoint, .*; give one with --config'):
    scored(file, out)
  with pytest.raises(UserError, match=r"--config has dataset\.source='random', which has no clips"):
    scored(file, out, with_data(source='random'))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({}, None),
    ({'sequence_length': 8}, 'is 8 and the model was trained with 4; add --config.dataset.seq'),
    ({'resolution': 24}, 'resolution is 24 and the model was trained with 16; add'),
    ({'resolution': (16, 24)}, 'resolution is (16, 24) and the model was trained with 16; add'),
  ],
)
def test_the_clips_are_the_models(changes, message):
  tokenizer = abstract_tokenizer(TINY.vqvae, 4, 16)
  if message is None:
    return check_clips(tokenizer, with_data(**changes))
  with pytest.raises(UserError, match=re.escape(message)):
    check_clips(tokenizer, with_data(**changes))
