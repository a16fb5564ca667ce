import dataclasses
import hashlib
import pathlib
import shutil
import tarfile

import numpy as np
import pytest
import safetensors.numpy

from tests.evaluation import published_weights
from tests.goldens.golden import HERE as GOLDENS
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.evaluation import i3d_weights, networks, weights
from videogpt_jax.interop import torch_file

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


@pytest.mark.parametrize(
  ('name', 'warning'),
  [
    ('rgb_imagenet/model.ckpt.index', 'another network'),
    ('rgb_imagenet.pt', 'another network'),
    ('i3d_pretrained_400.pt', 'epsilon 1e-05'),
    ('i3d-kinetics-400.ckpt', ''),
    ('variables/variables.index', ''),
  ],
)
def test_networks_that_do_not_compare_are_warned_of(name, warning, tmp_path):
  (tmp_path / name).parent.mkdir(exist_ok=True)
  (tmp_path / name).touch()
  found = i3d_weights.warnings(str(tmp_path / name))
  assert bool(found) == bool(warning) and all(warning in line for line in found)


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
    assert not known.name.endswith('.pth') or '-' not in known.name or known.sha256[:8] == prefix
  assert len({known.sha256 for known in weights.KNOWN_FILES}) == len(weights.KNOWN_FILES)


def test_every_format_is_read(file, tmp_path):
  np.savez(tmp_path / 'w.npz', **_TENSORS)
  for path in (file, tmp_path / 'w.npz'):
    read = weights.read_tensors(path)
    assert list(read) == ['a.weight']
    np.testing.assert_array_equal(read['a.weight'], _TENSORS['a.weight'])
  assert 'encoder.convs.0.conv.weight' in weights.read_tensors(GOLDENS / 'vqvae.ckpt')
  assert 'blocks.0.bn.running_var' in weights.read_tensors(GOLDENS / 'torch_script.pt')


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
  with pytest.raises(ValueError, match='--lpips_weights takes two files'):
    networks.load_networks(lpips_weights=['backbone.pth'])


@pytest.mark.parametrize('name', ['w.npz', 'w.safetensors', 'w.pt', 'w.tar.gz', 'w.index'])
def test_a_damaged_file_is_an_error_of_the_user(name, tmp_path):
  (tmp_path / name).write_bytes(b'PK\3\4 and then nothing')
  with pytest.raises(UserError, match=name):
    weights.read_tensors(tmp_path / name)
  with pytest.raises(UserFileError):
    weights.read_tensors(tmp_path / 'missing' / name)


def test_no_network_is_made_of_weights_that_nobody_vouches_for(file):
  with pytest.raises(ValueError, match='not in the table of known weights'):
    networks.load_networks(fvd_weights=str(file))
  with pytest.raises(ValueError, match='holds no I3D'):
    networks.load_networks(fvd_weights=str(file), trusted=[_digest(file)])
  assert dataclasses.asdict(networks.load_networks())['features'] is None


@pytest.fixture
def lpips_files(tmp_path, monkeypatch):
  """LPIPS by recipe in the published format, and a cache of its own."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  files = [str(tmp_path / name) for name in ('backbone.pth', 'linear.pth')]
  for path, tensors in zip(files, published_weights.lpips('alex'), strict=True):
    torch_file.write_checkpoint(path, tensors)
  return files, [hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() for path in files]


def test_weights_are_converted_once(lpips_files, tmp_path, monkeypatch):
  files, trusted = lpips_files
  clips = np.random.default_rng(0).integers(0, 256, (2, 2, 33, 34, 3), dtype=np.uint8)
  first = networks.load_networks(lpips_weights=files, trusted=trusted)

  def convert_again(*_, **__):
    raise AssertionError('converted a second time')

  monkeypatch.setattr(networks.lpips, 'import_lpips', convert_again)
  second = networks.load_networks(lpips_weights=files, trusted=trusted)
  np.testing.assert_array_equal(first.lpips(clips, clips[::-1]), second.lpips(clips, clips[::-1]))
  assert first.files == second.files
  (kept,) = (tmp_path / 'cache').rglob('*.safetensors')
  kept.write_bytes(kept.read_bytes()[:1000])  # a damaged copy is no copy
  with pytest.raises(AssertionError, match='a second time'):
    networks.load_networks(lpips_weights=files, trusted=trusted)


def test_what_was_converted_is_not_found_for_other_files(lpips_files, monkeypatch):
  files, trusted = lpips_files
  networks.load_networks(lpips_weights=files, trusted=trusted)
  tensors, linear = published_weights.lpips('alex')[1], pathlib.Path(files[1])
  before = linear.read_bytes()
  torch_file.write_checkpoint(files[1], {name: 2 * x for name, x in tensors.items()})
  with pytest.raises(ValueError, match='not in the table'):  # vouched for by nobody
    networks.load_networks(lpips_weights=files, trusted=trusted)
  other = hashlib.sha256(linear.read_bytes()).hexdigest()
  clips = np.random.default_rng(0).integers(0, 256, (1, 1, 33, 34, 3), dtype=np.uint8)
  doubled = networks.load_networks(lpips_weights=files, trusted=[*trusted, other])
  linear.write_bytes(before)
  single = networks.load_networks(lpips_weights=files, trusted=trusted)
  np.testing.assert_allclose(
    doubled.lpips(clips, 255 - clips), 2 * single.lpips(clips, 255 - clips), rtol=1e-6
  )
