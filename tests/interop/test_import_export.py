"""A published file becomes a workdir and a workdir published files, with nothing lost."""

import dataclasses
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import videogpt_jax
from tests.goldens.golden import HERE as GOLDENS
from tests.goldens.golden import Golden, relative_error
from videogpt_jax import exchange, loading, workdir
from videogpt_jax.errors import UserFileError
from videogpt_jax.interop import published
from videogpt_jax.interop.torch_file import read_checkpoint, write_checkpoint


@pytest.fixture(scope='module', params=['vqvae.ckpt', 'gpt_uncond.ckpt'])
def imported(request, tmp_path_factory):
  """The file, with batch norms that have counted, and the workdir made of it."""
  folder = tmp_path_factory.mktemp('imported')
  tree = read_checkpoint(GOLDENS / request.param)
  counters = [name for name in tree['state_dict'] if name.endswith('num_batches_tracked')]
  tree['state_dict'] |= {name: np.array(7 + i) for i, name in enumerate(counters)}
  write_checkpoint(folder / request.param, tree)
  found = published.load(folder / request.param)
  experiment = exchange.stated_experiment(found, 'imported')
  exchange.import_to_workdir(folder / 'workdir', found, experiment)
  return folder / request.param, folder / 'workdir'


def test_a_workdir_gives_what_its_file_gives(imported):
  file, path = imported
  if file.name == 'vqvae.ckpt':
    golden, vqvae = Golden('vqvae_ds444'), videogpt_jax.load_vqvae(path)
    codes = vqvae.encode(golden.video('in/video'))
    np.testing.assert_array_equal(codes, golden['eval/encodings'])
  else:
    golden, gpt = Golden('gpt_uncond'), videogpt_jax.load_videogpt(path)
    logits = gpt.logits(golden['in/encodings'])
    assert relative_error(logits, golden['eval/logits']) < 1e-4


def test_import_then_export_gives_every_tensor_back(imported, tmp_path):
  file, path = imported
  name = 'vqvae' if file.name == 'vqvae.ckpt' else 'gpt'
  theirs = read_checkpoint(file)['state_dict']
  places = {
    'of_workdir': path,
    'of_export': tmp_path / 'of_workdir',
    'of_its_file': tmp_path / 'of_export' / f'{name}.safetensors',
    'of_published': file,
  }
  for out, place in places.items():
    files = exchange.export_model(place, tmp_path / out)
    assert {f.name for f in files} >= {f'{name}.ckpt', f'{name}.safetensors', 'vqvae.ckpt'}
    for ours in (
      read_checkpoint(tmp_path / out / f'{name}.ckpt'),
      published.read_safetensors(tmp_path / out / f'{name}.safetensors'),
    ):
      assert ours['state_dict'].keys() == theirs.keys()
      for tensor, x in theirs.items():
        assert ours['state_dict'][tensor].tobytes() == x.tobytes(), tensor


def test_an_export_is_a_model(imported, tmp_path):
  _, path = imported
  exchange.export_model(path, tmp_path / 'out')
  found, same = (loading.load_model(place) for place in (tmp_path / 'out', path))
  assert type(found) is type(same) and found.digest == same.digest
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserFileError, match=r'empty is neither a run, .*, nor an export'):
    loading.load_model(tmp_path / 'empty')


def test_an_imported_stage_counts_as_finished(imported):
  file, path = imported
  assert workdir.is_trained(path, 'vqvae')
  assert workdir.is_trained(path, 'prior') == (file.name != 'vqvae.ckpt')


def test_a_workdir_that_is_not_empty_is_left_alone(imported):
  _, path = imported
  found = published.load(GOLDENS / 'vqvae.ckpt')
  before = (path / 'config.json').read_bytes()
  with pytest.raises(ValueError, match='is not empty'):
    exchange.import_to_workdir(path, found, exchange.stated_experiment(found, 'other'))
  assert (path / 'config.json').read_bytes() == before


def test_a_configuration_of_another_model_is_refused():
  found = published.load(GOLDENS / 'gpt_uncond.ckpt')
  same = exchange.stated_experiment(found, 'x')
  exchange.check_same(found, same)
  faster = dataclasses.replace(same.prior, dtype='bfloat16', dropout=0.1, attn_backend='dense')
  exchange.check_same(found, dataclasses.replace(same, prior=faster))
  for section, change in {'prior': {'n_layers': 3}, 'vqvae': {'n_codes': 33}}.items():
    ((key, value),) = change.items()
    other = dataclasses.replace(getattr(same, section), **change)
    with pytest.raises(ValueError, match=rf'{section}\.{key} is .* checkpoint and {value} in'):
      exchange.check_same(found, dataclasses.replace(same, **{section: other}))
  longer = dataclasses.replace(same.dataset, sequence_length=16)
  with pytest.raises(ValueError, match=r'sequence_length is 8 in the checkpoint and 16 in'):
    exchange.check_same(found, dataclasses.replace(same, dataset=longer))


def test_nothing_is_written_for_a_model_that_the_published_code_has_not(tmp_path):
  found = published.load(GOLDENS / 'vqvae.ckpt')
  more_heads = dataclasses.replace(found.vqvae, n_heads=4)
  odd = dataclasses.replace(found, vqvae=more_heads)
  exchange.import_to_workdir(tmp_path / 'run', odd, exchange.stated_experiment(odd, 'odd'))
  with pytest.raises(ValueError, match=r'n_heads 4 \(not 2\)'):
    exchange.export_model(tmp_path / 'run', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


class Evil:
  def __init__(self, victim):
    self.victim = victim

  def __reduce__(self):
    return os.mkdir, (str(self.victim),)


def test_the_command_refuses_a_malicious_file_in_one_line(tmp_path):
  (tmp_path / 'evil.ckpt').write_bytes(pickle.dumps({'state_dict': Evil(tmp_path / 'victim')}))
  flags = [f'--model={tmp_path}/evil.ckpt', f'--workdir={tmp_path}/run']
  done = subprocess.run(
    [sys.executable, '-m', 'videogpt_jax.import_torch', *flags], capture_output=True, text=True
  )
  assert done.returncode == 1
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert 'posix.mkdir' in done.stderr
  assert [file.name for file in tmp_path.iterdir()] == ['evil.ckpt']
