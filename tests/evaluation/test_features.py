"""A network of the user's, and features of real clips that are computed once."""

import dataclasses
import sys

import numpy as np
import pytest

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import features, networks, protocols
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.compare import ClipSets, compare
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.evaluation.weights import Provenance

_ALL = protocols.PROTOCOLS['all']


def _clips(n, seed=0):
  video = np.random.default_rng(seed).integers(0, 256, (n, 3, 5, 4, 3), dtype=np.uint8)
  return ArrayClips(video)


def _network(name='made_up', calls=None, digest='00', value=None):
  def run(clips):
    if calls is not None:
      calls.append(len(clips))
    means = clips.mean(axis=(2, 3)).reshape(len(clips), -1)
    return means if value is None else np.full_like(means, value)

  return FeatureNetwork(name, run, [Provenance('w', 1, digest, 'a test')], 'as it is')


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def test_a_users_network_scores_under_its_own_name(tmp_path, monkeypatch):
  code = """def brightness(file):
  return lambda clips: clips.mean(axis=(2, 3)).reshape(len(clips), -1)
"""
  (tmp_path / 'my_features.py').write_text(code)
  monkeypatch.syspath_prepend(tmp_path)
  found = networks.load_networks(None, feature_network='my_features:brightness')
  result = compare(ClipSets(_clips(9), _clips(8, 1)), _ALL, found)
  assert {'fvd_brightness', 'kvd_brightness', 'precision_brightness'} <= result['scores'].keys()
  assert 'fvd' not in result['scores'] and 'my_features' in result['feature_input']
  with pytest.raises(ValueError, match='must be MODULE:FUNCTION'):
    networks.load_networks(feature_network='my_features:nothing')
  with pytest.raises(UserError, match='--resize=tf1 is of I3D'):
    networks.load_networks(feature_network='my_features:brightness', resize='tf1')


FACTORIES = {
  'def f(file): pass': 'returns NoneType; it must return a function',
  'def f(file): return 3': 'returns int; it must return a function',
  'def f(): return len': 'of a function that takes the path of a file: too many positional',
  'f = 3': 'of a function that takes the path of a file: 3 is not a callable',
  'g = 3': "has no attribute 'f'",
}


@pytest.mark.parametrize('code', FACTORIES)
def test_a_factory_that_makes_no_network_is_refused(code, tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'my_factory', raising=False)
  monkeypatch.setattr(sys, 'dont_write_bytecode', True)
  (tmp_path / 'my_factory.py').write_text(code)
  with pytest.raises(UserError, match=r'\(my_factory:f\)') as refused:
    networks.load_networks(feature_network='my_factory:f')
  assert FACTORIES[code] in str(refused.value) and '\n' not in str(refused.value)
  for nothing in ('sys:exit', 'nowhere:f', 'my_factory', ':f'):
    with pytest.raises(UserError, match='importable from here'):
      networks.load_networks(feature_network=nothing)


RESULTS = {
  'NoneType': lambda clips: None,
  'str': lambda clips: 'features',
  'dict': lambda clips: {'features': clips},
  'no array': lambda clips: [[1.0], [1.0, 2.0]],
  '(3,)': lambda clips: np.zeros(3),
  '(1, 5)': lambda clips: np.zeros((len(clips), 5))[:1],
  ', 0)': lambda clips: np.zeros((len(clips), 0)),
  'NaN or infinity for clip 1': lambda clips: np.where(np.arange(len(clips)) == 1, np.nan, 0)[
    :, None
  ],
  'the same number': lambda clips: np.zeros((len(clips), len(clips))),
}


@pytest.mark.parametrize('problem', RESULTS)
@pytest.mark.parametrize('n_real', [8, 9])
def test_a_network_that_returns_no_features_is_named(problem, n_real):
  sets = ClipSets(_clips(n_real), _clips(8, 1))
  bad = networks.Networks(FeatureNetwork('made_up', RESULTS[problem]))
  with pytest.raises(UserError, match='network') as refused:
    compare(sets, _ALL, bad, batch_size=5)
  assert '\n' not in str(refused.value)
  assert problem in str(refused.value)


def test_real_clips_go_through_a_network_once():
  calls = []
  network, wanted = _network(calls=calls), np.array([1, 3, 4])
  first = features.of_reference(_clips(9), wanted, network)
  again = features.of_reference(_clips(9), wanted[:2], network)
  assert calls == [3]
  np.testing.assert_array_equal(first.features.values[:2], again.features.values)
  more = features.of_reference(_clips(9), np.array([0, 3]), network)
  assert calls == [3, 1] and more.features.indices.tolist() == [0, 3]
  known = features.of_reference(_clips(9), np.arange(5), network)
  assert calls == [3, 1, 1] and len(known) == 5
  features.of_reference(_clips(9, seed=1), wanted, network)  # other clips
  features.of_reference(_clips(9), wanted, _network(calls=calls, digest='01'))  # other weights
  assert calls == [3, 1, 1, 3, 3]


def test_a_file_of_features_stands_for_its_clips(tmp_path):
  file, network = tmp_path / 'new' / 'real.safetensors', networks.Networks(_network())
  whole = compare(ClipSets(_clips(9), _clips(8, 1)), _ALL, network, save_reference=file)
  stored = features.open_reference(str(file))
  assert compare(ClipSets(stored, _clips(8, 1)), _ALL, network)['scores'] == whole['scores']
  # Of some clips only, whatever else the cache holds.
  some = protocols.Protocol('small', 4, 1, 'this test', redraws=False)
  of_some = compare(ClipSets(_clips(9), _clips(8, 1)), some, network, save_reference=file)
  assert of_some['sets']['reference']['n_clips'] == 9 and len(features.open_stored(file)) == 8
  with pytest.raises(ValueError, match='features of another network'):
    compare(ClipSets(stored, _clips(8, 1)), _ALL, networks.Networks(_network(digest='01')))
  with pytest.raises(ValueError, match='features without clips'):
    ClipSets(stored, _clips(8, 1), paired=True)
  file.write_bytes(b'nothing')
  with pytest.raises(ValueError, match='as features of clips'):
    features.open_reference(str(file))


def test_the_best_of_several_samples_counts():
  protocol = protocols.Protocol('small', 3, 1, 'this test', samples_per_clip=2)
  real = np.repeat(np.repeat(_clips(3).read(range(3)), 2, axis=2), 2, axis=3)
  samples = np.repeat(real, 2, axis=0)
  samples[1::2] = 255 - samples[1::2]  # every other sample is bad
  result = compare(ClipSets(ArrayClips(real), ArrayClips(samples)), protocol, networks.Networks())
  assert result['scores']['best_psnr'] == pytest.approx(58.92, abs=0.01)
  given = samples.copy()
  given[:, 0] = np.repeat(real, 2, axis=0)[:, 0]
  bad = [None] * 2
  for n_given in (0, 1):
    sets = ClipSets(ArrayClips(real[:2]), ArrayClips(given[1:4:2]), n_given=n_given, paired=True)
    bad[n_given] = compare(sets, _ALL, networks.Networks())['scores']
  assert bad[0]['psnr'] > bad[1]['psnr'] + 10 and bad[0]['nmse'] < bad[1]['nmse']
  with pytest.raises(ValueError, match=r'n_given \(3\) must be less than the 3 frames'):
    compare(dataclasses.replace(sets, n_given=3), _ALL, networks.Networks())
  with pytest.raises(ValueError, match='protocol small needs 6 samples'):
    compare(ClipSets(ArrayClips(real), ArrayClips(samples[:5])), protocol, networks.Networks())


def test_protocols_say_what_they_need():
  with pytest.raises(ValueError, match='protocol k600 scores 16 frames of which 5 are given'):
    protocols.PROTOCOLS['k600'].check_frames(1, 16)
  k600 = protocols.PROTOCOLS['k600']
  with pytest.raises(
    ValueError, match=r'protocol k600 scores clips of 16 frames.*have 3; set --n_'
  ):
    compare(ClipSets(_clips(9), _clips(8, 1)), k600, networks.Networks())
  sixteen = [
    ArrayClips(clips.read(range(8)).repeat(6, 1)[:, :16]) for clips in (_clips(9), _clips(8, 1))
  ]
  assert 'fvd_made_up' in compare(ClipSets(*sixteen), k600, networks.Networks(_network()))['scores']
  paper = protocols.draw(protocols.PROTOCOLS['videogpt'], 2560, 600)
  assert (paper.reference == paper.reference[0]).all() and len(paper.others) == 256
  assert not set(paper.others) & set(paper.reference[0])
  for name, counts, message in (
    (
      'stylegan-v',
      (2048, 9),
      '2048 samples and 2048 real clips, not 2048 and 9; add clips, or use',
    ),
    ('tganv2-is', (9, 9), r'20480 samples \(10 x 2048\) and a real clip.* lower --n_trials'),
  ):
    with pytest.raises(UserError, match=message):
      protocols.draw(protocols.PROTOCOLS[name], *counts)
  few = protocols.draw(protocols.PROTOCOLS['tganv2-is'], 20480, 5)
  assert few.reference.shape == few.samples.shape == (10, 2048)
