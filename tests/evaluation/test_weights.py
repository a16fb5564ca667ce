import dataclasses
import pathlib
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from tests.goldens.golden import HERE as GOLDENS
from videogpt_jax.evaluation import networks, weights

_BUNDLE = pathlib.Path(__file__).parent / 'goldens'
_TENSORS = {'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'w.safetensors'
  safetensors.numpy.save_file(_TENSORS, path)
  return path


def _digest(path):
  with pytest.raises(ValueError, match='not in the table of known weights') as refusal:
    weights.identify(path)
  return str(refusal.value).rpartition('--trust_sha256=')[2]


def test_unknown_weights_are_used_only_on_the_users_word(file):
  digest = _digest(file)
  provenance = weights.identify(file, trusted=[digest.upper()])
  assert provenance.sha256 == digest and provenance.size_bytes == file.stat().st_size
  assert 'trusted by digest' in provenance.holds
  with pytest.raises(ValueError, match='not in the table'):
    weights.identify(file, trusted=['0' * 64])


def test_a_known_file_is_known_by_its_content(file, monkeypatch):
  known = weights.KnownFile('published.safetensors', 'a test', file.stat().st_size, _digest(file))
  monkeypatch.setattr(weights, 'KNOWN_FILES', (known,))
  assert weights.identify(file).holds == 'a test'  # whatever it is called here
  damaged = file.with_name(known.name)
  damaged.write_bytes(file.read_bytes()[:-1] + b'?')
  with pytest.raises(ValueError, match=r'is not the published published\.safetensors'):
    weights.identify(damaged)


def test_the_table_of_known_files_is_sound():
  for known in weights.KNOWN_FILES:
    assert len(bytes.fromhex(known.sha256)) == 32
    prefix = known.name.rpartition('-')[2].partition('.')[0]  # torchvision puts it into names
    assert '-' not in known.name or known.sha256.startswith(prefix)
  assert len({known.sha256 for known in weights.KNOWN_FILES}) == len(weights.KNOWN_FILES)


def test_every_format_is_read(file, tmp_path):
  np.savez(tmp_path / 'w.npz', **_TENSORS)
  for path in (file, tmp_path / 'w.npz'):
    read = weights.read_tensors(path)
    assert list(read) == ['a.weight']
    np.testing.assert_array_equal(read['a.weight'], _TENSORS['a.weight'])
  assert 'encoder.convs.0.conv.weight' in weights.read_tensors(GOLDENS / 'vqvae.ckpt')


def test_a_tensorflow_hub_module_is_read_from_wherever_it_lies(tmp_path):
  variables = tmp_path / 'module' / 'variables'
  variables.mkdir(parents=True)
  for path in _BUNDLE.glob('variables.*'):
    shutil.copy(path, variables)
  with tarfile.open(tmp_path / 'module.tar.gz', 'w:gz') as archive:
    archive.add(variables, 'variables')
  paths = (variables.parent, variables / 'variables.index', tmp_path / 'module.tar.gz')
  for path in paths:
    assert weights.read_tensors(path)['step'] == 2**40
  assert _digest(paths[0]) == _digest(paths[1])  # that of the data, not of the index
  for path in variables.glob('*.data-*'):
    path.unlink()
  with pytest.raises(FileNotFoundError, match='and its data files'):
    weights.identify(variables.parent)


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path):
  with pytest.raises(FileNotFoundError, match='there is no file'):
    weights.identify(tmp_path / 'nothing.pt')
  script = tmp_path / 'script.pt'
  with zipfile.ZipFile(script, 'w') as archive:
    archive.writestr('i3d/code/__torch__.py', '')
  with pytest.raises(ValueError, match='TorchScript, a program rather than weights'):
    weights.read_tensors(script)
  with pytest.raises(ValueError, match='--lpips_weights takes two files'):
    networks.load_networks(lpips_weights=['backbone.pth'])


def test_no_network_is_made_of_weights_that_nobody_vouches_for(file):
  with pytest.raises(ValueError, match='not in the table of known weights'):
    networks.load_networks(fvd_weights=str(file))
  with pytest.raises(ValueError, match='holds no I3D'):
    networks.load_networks(fvd_weights=str(file), trusted=[_digest(file)])
  assert dataclasses.asdict(networks.load_networks())['i3d'] is None
