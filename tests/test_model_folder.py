"""A model as a folder: every bit comes back, and a damaged folder is refused in one line."""

import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import videogpt_jax
from tests import untrained
from videogpt_jax import model_folder, shipped
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.readers import Cut


@pytest.fixture(scope='module')
def model():
  cut = Cut(frame_skip=2, fit='pad', antialias=True, frame_rate=7.5)
  names = tuple(f'digit {i}' for i in range(10))
  return untrained.make_model(
    untrained.experiment(), class_names=names, action_names=('jump',), cut=cut
  )


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
  folder = tmp_path_factory.mktemp('model')
  model_folder.write(folder, model)
  return folder


def test_every_bit_comes_back(model, exported):
  ours, theirs = model, videogpt_jax.load_videogpt(exported)
  assert theirs.digest == ours.digest
  jax.tree.map(np.testing.assert_array_equal, theirs.prior.state, ours.prior.state)
  for name in ('config', 'class_names', 'action_names', 'cut', 'latent_shape'):
    assert getattr(theirs, name) == getattr(ours, name)
  assert theirs.vqvae.config == ours.vqvae.config and theirs.vqvae.spec == ours.vqvae.spec


def test_bfloat16_is_the_rounded_model_bit_for_bit_in_half_the_bytes(model, exported, tmp_path):
  (tmp_path / 'half').mkdir()
  model_folder.write(tmp_path / 'half', model, 'bfloat16')
  ours, theirs = model, videogpt_jax.load_videogpt(tmp_path / 'half')
  rounded = lambda x: (
    np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float32)
    if x.dtype == np.float32
    else np.asarray(x)
  )
  for part in ('vqvae', 'prior'):
    wanted = jax.tree.map(rounded, getattr(ours, part).state)
    jax.tree.map(np.testing.assert_array_equal, getattr(theirs, part).state, wanted)
  assert theirs.digest != ours.digest
  sizes = [
    (folder / model_folder.WEIGHTS).stat().st_size for folder in (tmp_path / 'half', exported)
  ]
  assert sizes[0] < 0.6 * sizes[1]


def test_weights_are_named_by_their_paths_and_hold_no_state_of_training(exported):
  names = set(load_file(exported / model_folder.WEIGHTS))
  assert {'vqvae/codebook/embeddings', 'vqvae/encoder/conv_last/kernel', 'prior/sos'} <= names
  assert {name.split('/')[0] for name in names} == {'vqvae', 'prior'}
  assert not [name for name in names if 'discriminator' in name or 'ema' in name]


def test_a_misspelt_folder_is_told_what_is_beside_it(tmp_path):
  (tmp_path / 'mine').mkdir()
  with pytest.raises(UserFileError, match=rf'folder \(there is {tmp_path}/mine\), and no model'):
    videogpt_jax.load_videogpt(tmp_path / 'mien')
  with pytest.raises(UserFileError, match='folder, and no model'):
    videogpt_jax.load_videogpt(tmp_path / 'nowhere' / 'mine')


def test_a_model_that_comes_with_the_package_is_found_by_its_name(exported, tmp_path, monkeypatch):
  monkeypatch.setattr(shipped, 'ROOT', tmp_path)
  assert shipped.model_names() == []
  shutil.copytree(exported, tmp_path / 'pretrained' / 'ball')
  (tmp_path / 'pretrained' / 'notes').mkdir()
  assert shipped.model_names() == ['ball']
  ours = videogpt_jax.load_videogpt(exported).digest
  assert videogpt_jax.load_videogpt('ball').digest == ours
  with pytest.raises(UserFileError, match=r'no model of this name; names are ball, bair_stride'):
    videogpt_jax.load_videogpt('bell')
  for name in ('../pretrained/ball', 'pretrained', ''):
    assert shipped.model(name) is None
  monkeypatch.chdir(tmp_path)
  shutil.copytree(exported, tmp_path / 'bull')
  assert videogpt_jax.load_videogpt('bull').digest == ours  # a folder of one's own


def test_the_wheel_ships_every_model_and_every_card(exported, tmp_path, monkeypatch):
  said = {}
  monkeypatch.setattr('setuptools.setup', lambda **given: said.update(given))
  source = (shipped.ROOT / 'setup.py').read_text()
  shutil.copytree(exported, tmp_path / 'pretrained' / 'ball')
  monkeypatch.chdir(tmp_path)
  exec(compile(source, 'setup.py', 'exec'), {'__name__': 'setup'})
  name = 'videogpt_jax.shipped.pretrained.ball'
  assert said['package_dir'][name] == 'pretrained/ball' and name in said['packages']
  there = {
    file.name
    for pattern in said['package_data'][name]
    for file in (tmp_path / 'pretrained' / 'ball').glob(pattern)
  }
  assert there == {file.name for file in exported.iterdir()} and model_folder.WEIGHTS in there
  assert said['package_data']['videogpt_jax.shipped.data.cards'] == ['*.md']


def _with_config(change):
  def damage(folder):
    values = json.loads((folder / 'config.json').read_text())
    change(values)
    (folder / 'config.json').write_text(json.dumps(values))

  return damage


def _with_weights(change):
  def damage(folder):
    tensors = load_file(folder / model_folder.WEIGHTS)
    change(tensors)
    save_file(tensors, folder / model_folder.WEIGHTS)

  return damage


def _cut(name):
  return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


SOS = 'prior/sos'

DAMAGE = {
  'no weights': (
    lambda folder: (folder / model_folder.WEIGHTS).unlink(),
    'has the config.json of a model and no model.safetensors; get the whole folder again',
  ),
  'no configuration': (
    lambda folder: (folder / 'config.json').unlink(),
    'has a model.safetensors and no config.json',
  ),
  'truncated weights': (_cut(model_folder.WEIGHTS), r'model.safetensors as safetensors: '),
  'truncated configuration': (_cut('config.json'), r'config.json is broken'),
  'another shape': (
    _with_weights(lambda t: t.update({SOS: t[SOS][:-1]})),
    r'prior/sos is F32 \[23\], and config.json wants float32 \[24\]',
  ),
  'another type': (
    _with_weights(lambda t: t.update({SOS: t[SOS].astype(np.int32)})),
    r'prior/sos is I32 \[24\], and config.json wants float32',
  ),
  'a missing array': (_with_weights(lambda t: t.pop(SOS)), 'lacks prior/sos, by its config.json'),
  'another array': (
    _with_weights(lambda t: t.update({'prior/x': t[SOS], 'prior/y': t[SOS]})),
    'has superfluous prior/x and 1 more',
  ),
  'another size': (
    _with_config(lambda c: c['prior'].update(hidden_dim=48)),
    'prior/.* and config.json wants',
  ),
  'endless layers': (_with_config(lambda c: c['prior'].update(n_layers=10**9)), 'must be at most'),
  'a word for a number': (
    _with_config(lambda c: c['vqvae'].update(n_codes='many')),
    r"config.json: config.vqvae.n_codes \('many'\) must be a whole number",
  ),
  'a prior of other codes': (
    _with_config(lambda c: c['prior'].update(n_cond_frames=9)),
    r'n_cond_frames \(9\) must not exceed',
  ),
  'an unknown key': (_with_config(lambda c: c.update(colour=3)), 'unknown key config.colour'),
  'a later version': (
    _with_config(lambda c: c.update(version=2)),
    'version 2.*update videogpt_jax',
  ),
  'another program': (
    _with_config(lambda c: c.update(format='diffusers')),
    'is not the configuration of a videogpt_jax model',
  ),
  'classes of another kind': (
    _with_config(lambda c: c.update(class_names=[1])),
    'class_names.*must be text',
  ),
  'too few classes': (
    _with_config(lambda c: c.update(class_names=['a'])),
    'class_names has 1 names, and 10 are needed, or none',
  ),
  'a cut of another kind': (_with_config(lambda c: c['cut'].update(fit='tear')), "fit .*'tear'"),
}


@pytest.mark.parametrize('case', DAMAGE)
def test_a_damaged_folder_is_refused_in_one_line(exported, tmp_path, case):
  damage, message = DAMAGE[case]
  damage(shutil.copytree(exported, tmp_path / 'model'))
  with pytest.raises(UserError, match=message) as refused:
    videogpt_jax.load_videogpt(tmp_path / 'model')
  assert len(str(refused.value).splitlines()) == 1
