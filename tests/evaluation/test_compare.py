import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.evaluation import published_weights
from tests.goldens import recipe
from videogpt_jax.evaluation import compare, i3d_weights, lpips, networks, protocols, record
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.extract import Extractor
from videogpt_jax.evaluation.feature_networks import FeatureNetwork

_ROOT = pathlib.Path(__file__).parents[2]
_ALL = protocols.PROTOCOLS['all']
_PROJECTION = recipe.parameter('projection', (4 * 8 * 7 * 3, 5), 'test')
_STANDIN = Extractor(lambda clips: clips.reshape(len(clips), -1) / 255.0 @ _PROJECTION)
_NETWORKS = networks.Networks(FeatureNetwork('i3d', _STANDIN), _STANDIN)


def _clips(n, seed=0, noise=0.0):
  rng = np.random.default_rng(seed)
  video = rng.random((n, 4, 8, 7, 3), dtype=np.float32)
  return np.clip(video + noise * rng.standard_normal(video.shape, dtype=np.float32), 0, 1)


def _evaluate(samples, reference, protocol=_ALL, **kwargs):
  sets = {name: kwargs.pop(name) for name in ('reconstructions', 'paired') if name in kwargs}
  if 'reconstructions' in sets:
    sets['reconstructions'] = ArrayClips(sets['reconstructions'])
  clip_sets = compare.ClipSets(ArrayClips(reference), ArrayClips(samples), **sets)
  return compare.compare(clip_sets, protocol, kwargs.pop('networks', _NETWORKS), **kwargs)


def test_identical_sets_score_zero():
  clips = _clips(23)
  scores = _evaluate(clips, clips[::-1].copy(), batch_size=4)['scores']
  assert scores['fvd'] < 1e-6


def test_scores_do_not_depend_on_the_batch_size():
  samples, reference = _clips(23, 1, 0.3), _clips(19)
  one, other = (_evaluate(samples, reference, batch_size=n)['scores'] for n in (4, 23))
  assert (
    one.keys()
    == other.keys()
    == {
      *('fvd', 'fvd_infinity', 'kvd', 'inception_score'),
      *('precision', 'recall', 'density', 'coverage'),
    }
  )
  for name, value in one.items():
    scale = one['fvd'] if name == 'fvd_infinity' else value  # a limit near 0 errs as its distances
    assert other[name] == pytest.approx(value, abs=1e-5 * abs(scale))


def test_the_record_holds_what_it_takes_to_repeat_it(tmp_path):
  protocol = protocols.Protocol('small', 6, 3, 'this test')
  samples, reference = _clips(18, 1, 0.3), _clips(9)
  result = _evaluate(samples, reference, protocol, reconstructions=_clips(9, 0, 0.02), seed=4)
  scores = result['scores']
  for name in ('fvd', 'fvd_star', 'r_fvd', 'kvd', 'inception_score'):
    assert scores[name] > 0 or name == 'kvd'
    assert scores[f'{name}_std'] >= 0
  assert scores['r_fvd'] < scores['fvd_star']
  assert scores['reconstruction_psnr'] > 30
  assert result['seed'] == 4 and result['protocol']['n_trials'] == 3
  assert result['sets']['reference']['n_clips'] == 9
  assert result['clip']['size_t_h_w_c'] == [4, 8, 7, 3]
  assert result['code_version'] != 'unknown' or not (_ROOT / '.git').exists()
  record.write(result, tmp_path / 'deep' / 'result.json')
  assert json.loads((tmp_path / 'deep' / 'result.json').read_text()) == result
  text = record.summarise(result)
  for part in ('missing lpips', 'fvd_star', ' +- ', 'seed 4'):
    assert part in text
  again = _evaluate(samples, reference, protocol, reconstructions=_clips(9, 0, 0.02), seed=4)
  assert again['scores'] == scores


def test_an_inception_score_alone_needs_few_real_clips():
  protocol = protocols.Protocol('small', 9, 2, 'this test')
  samples, few = _clips(18, 1, 0.3), _clips(4)
  alone = _evaluate(samples, few, protocol, networks=networks.Networks(c3d=_STANDIN))['scores']
  full = _evaluate(samples, _clips(9), protocol)['scores']
  assert alone == {name: full[name] for name in ('inception_score', 'inception_score_std')}
  for nets in (_NETWORKS, networks.Networks()):  # distances, or nothing to score with
    with pytest.raises(ValueError, match='9 real clips, not 18 and 4'):
      _evaluate(samples, few, protocol, networks=nets)


def test_paired_scores_compare_clip_by_clip(tmp_path):
  reference = _clips(5)
  big = lambda clips: np.repeat(np.repeat(clips, 2, axis=2), 2, axis=3)
  samples = np.clip(reference + 0.1, 0, 1)
  result = _evaluate(big(samples), big(reference), networks=networks.Networks(), paired=True)
  x, y = (np.round(np.asarray(v) * 255) / 255 for v in (samples, reference))
  error = np.mean((x - y) ** 2, axis=(2, 3, 4))
  assert result['scores']['psnr'] == pytest.approx(np.mean(-10 * np.log10(error)), rel=1e-5)
  assert result['scores']['nmse'] == pytest.approx(error.mean() / y.var(), rel=1e-5)
  gradient = lambda v: sum(np.abs(np.diff(v, axis=axis)).mean() for axis in (2, 3))
  x, y = (big(np.round(np.asarray(v) * 255)) for v in (samples, reference))
  assert result['scores']['sharpness'] == pytest.approx(gradient(x) / gradient(y), rel=1e-5)
  assert 0.5 < result['scores']['ssim'] < 1
  assert {'fvd, kvd', 'inception_score', 'lpips'} == set(result['missing'])
  same = _evaluate(big(reference), big(reference), networks=networks.Networks(), paired=True)
  record.write(same, tmp_path / 'same.json')
  exact = json.loads((tmp_path / 'same.json').read_text())['scores']
  assert exact['psnr'] == pytest.approx(10 * np.log10(12 * 255**2), abs=1e-4)
  flat = np.zeros_like(reference)
  result = _evaluate(big(flat), big(flat), networks=networks.Networks(), paired=True)
  record.write(result, tmp_path / 'flat.json')  # NaN is no JSON number
  assert json.loads((tmp_path / 'flat.json').read_text())['scores']['nmse'] == 'nan'
  blurred = (reference + np.roll(reference, 1, axis=2) + np.roll(reference, 1, axis=3)) / 3
  nets = networks.Networks()
  scores = _evaluate(big(blurred), big(reference), networks=nets, paired=True)['scores']
  assert scores['sharpness'] < 0.7
  with pytest.raises(ValueError, match='as many samples'):
    _evaluate(big(samples), big(reference[:4]), networks=networks.Networks(), paired=True)


def test_doubtful_comparisons_are_warned_of(tmp_path):
  assert _evaluate(_clips(4), _clips(4))['warnings'] == []
  (warning,) = _evaluate(_clips(4), _clips(5))['warnings']
  assert 'differ in size' in warning
  other = networks.Networks(FeatureNetwork('i3d', _STANDIN, warnings=['another network']))
  assert _evaluate(_clips(4), _clips(4), networks=other)['warnings'] == ['another network']
  lossy = ArrayClips(_clips(4))
  lossy.lossy = '.mp4'
  sets = compare.ClipSets(lossy, ArrayClips(_clips(4)))
  (warning,) = compare.compare(sets, _ALL, _NETWORKS)['warnings']
  assert 'the reference set has lossy files (.mp4)' in warning
  other = protocols.Protocol('videogpt', 4, 1, 'this test')
  (warning,) = _evaluate(_clips(4), _clips(4), other)['warnings']
  assert 'are not the protocol videogpt' in warning


def test_a_tokenizer_is_scored_without_samples():
  sets = compare.ClipSets(ArrayClips(_clips(9)), reconstructions=ArrayClips(_clips(9, noise=0.02)))
  alone = compare.compare(sets, _ALL, _NETWORKS)['scores']
  assert not {'fvd', 'fvd_star', 'inception_score'} & alone.keys()
  full = _evaluate(_clips(9, 1), _clips(9), reconstructions=_clips(9, noise=0.02))['scores']
  assert alone == {name: full[name] for name in alone} and 'r_fvd' in alone
  with pytest.raises(ValueError, match='there must be samples'):
    compare.ClipSets(ArrayClips(_clips(9)))


def test_clips_are_looked_at_where_nothing_can_be_scored():
  none, clips = networks.Networks(), _clips(6)
  result = _evaluate(clips, clips, networks=none)
  assert not result['scores'] and 'nothing was scored' in result['warnings'][-1]
  assert '--fvd_weights' in result['missing']['fvd, kvd']
  of_nine = networks.Networks(FeatureNetwork('i3d', _STANDIN, min_frames=9))
  for network, protocol, missing in (
    (of_nine, _ALL, {'fvd, kvd': 'clips of at least 9 frames'}),
    (_NETWORKS, protocols.Protocol('is', 2, 1, 'this test', compares=False), {}),
  ):
    nets = networks.Networks(network.features)
    result = _evaluate(clips, clips, protocol, networks=nets)
    assert not result['scores'] and 'weights' not in result['warnings'][-1]
    assert 'the missing scores need' in result['warnings'][-1]
    assert result['missing'].items() >= missing.items() and 'inception_score' in result['missing']
  broken = clips.copy()
  broken[4, 2, 0, 0, 1] = np.nan
  with pytest.raises(ValueError, match='clip 4 of array'):
    _evaluate(broken, clips, networks=none)


def test_a_tokenizer_alone_is_scored_on_fewer_clips_than_a_protocol_has():
  reference, seen = ArrayClips(_clips(5)), ArrayClips(_clips(5, 0, 0.1))
  sets = compare.ClipSets(reference, reconstructions=seen)
  protocol = protocols.PROTOCOLS['videogpt']
  scores = compare.compare(sets, protocol, networks.Networks())['scores']
  assert scores['reconstruction_psnr'] > 0
  with pytest.raises(ValueError, match='protocol videogpt needs'):
    compare.compare(sets, protocol, _NETWORKS)


def test_bad_sets_are_refused():
  with pytest.raises(ValueError, match=r'\(4, 8, 7, 3\) and \(4, 7, 7, 3\)'):
    _evaluate(_clips(4), _clips(4)[:, :, 1:])
  bad = _clips(9)
  bad[7, 2] = np.nan
  with pytest.raises(ValueError, match='clip 7 of array holds NaN'):
    _evaluate(bad, _clips(9), batch_size=4)


def test_the_program_scores_two_folders(tmp_path):
  for name, noise in (('a', 0.2), ('b', 0.0)):
    (tmp_path / name).mkdir()
    for i, clip in enumerate(_clips(3, 0, noise)):
      np.save(tmp_path / name / f'{i}.npy', clip.repeat(2, axis=1).repeat(2, axis=2))
  command = [sys.executable, '-m', 'videogpt_jax.evaluate', f'--samples={tmp_path / "a"}']
  command += [f'--reference={tmp_path / "b"}', f'--out={tmp_path / "out.json"}', '--paired']
  run = lambda *flags: subprocess.run(
    [*command, *flags], capture_output=True, text=True, cwd=_ROOT, env=_environment(1)
  )
  good = run('--protocol=all', '--fvd_weights=')
  assert good.returncode == 0, good.stderr
  assert 'psnr' in good.stdout and 'missing fvd, kvd: give --fvd_weights' in good.stdout
  assert json.loads((tmp_path / 'out.json').read_text())['protocol']['name'] == 'all'
  several = subprocess.run(
    command,
    capture_output=True,
    text=True,
    cwd=_ROOT,
    env=_environment(1) | {'JAX_NUM_PROCESSES': '2'},
  )
  assert several.returncode == 1
  assert 'evaluate is one process' in several.stderr and 'Traceback' not in several.stderr
  refusals = {
    (): 'protocol videogpt needs 2560 samples',
    ('--float_range=0',): '--float_range (0) must be two numbers',
    ('--save_reference=real.npz',): '--save_reference (real.npz) must end in .safetensors',
    (f'--save_reference={tmp_path}/r.safetensors', '--fvd_weights='): 'needs --fvd_weights, and a',
    (f'--workdir={tmp_path}',): 'omit it or --samples, --reference, --paired',
    (f'--model={tmp_path}',): 'omit it or --samples, --reference, --paired',
  }
  for flags, message in refusals.items():
    bad = run(*flags)
    assert bad.returncode == 1
    last = bad.stderr.splitlines()[-1]
    assert last.startswith('error: ') and message in last and 'Traceback' not in bad.stderr


REFUSED = {
  'bair_gpt': ([], 'is a checkpoint, which does not state its data set; give one with --config'),
  'file.ckpt': ([], 'is a checkpoint, which does not state its data set; give one with --config'),
  'nowhere': ([], 'nowhere: no such file or folder, and no model of this name'),
  'folder': ([], 'the folder folder is neither a run, which has a config.json, nor an export'),
  './file.ckpt': (
    [f'--config={_ROOT}/configs/demo.py'],
    '--out is missing; samples of ./file.ckpt',
  ),
}


@pytest.mark.parametrize('model', REFUSED)
def test_a_model_that_cannot_be_scored_is_refused(model, tmp_path):
  cached = tmp_path / '.cache' / 'videogpt' / 'bair_gpt'
  cached.parent.mkdir(parents=True)
  cached.touch()
  (tmp_path / 'file.ckpt').touch()
  (tmp_path / 'folder').mkdir()
  flags, message = REFUSED[model]
  command = [sys.executable, '-m', 'videogpt_jax.evaluate', f'--model={model}', *flags]
  environment = _environment(1) | {'HOME': str(tmp_path)}
  done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert message in line


def test_eight_devices_score_as_one_does():
  one, eight = (_scores_on(n_devices) for n_devices in (1, 8))
  assert (one.pop('n_devices'), eight.pop('n_devices')) == (1, 8)
  assert one.keys() == eight.keys() > {'fvd', 'psnr', 'lpips'}
  for name, value in one.items():
    assert eight[name] == pytest.approx(value, rel=1e-5)


def _scores_on(n_devices):
  run = subprocess.run(
    [sys.executable, __file__],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    env=_environment(n_devices),
  )
  assert run.returncode == 0, run.stderr
  return json.loads(run.stdout.splitlines()[-1])


def _environment(n_devices):
  flags = f'--xla_force_host_platform_device_count={n_devices}'
  return os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags, 'PYTHONPATH': str(_ROOT)}


def _score():
  """All scores of 11 clips, which 8 devices do not divide, with a smaller last batch."""
  network = lpips.import_lpips(*published_weights.lpips('alex'))
  standin = Extractor(lambda clips: jnp.mean(clips / 255.0, axis=(2, 3)).reshape(len(clips), -1))
  nets = networks.Networks(
    FeatureNetwork('i3d', standin), standin, Extractor(networks.framewise_lpips, network)
  )
  clips = [v.repeat(4, axis=2).repeat(6, axis=3) for v in (_clips(11, 1, 0.3), _clips(11))]
  return _evaluate(*clips, networks=nets, paired=True, batch_size=8)['scores']


@pytest.mark.slow
def test_fvd_of_digits_grows_with_added_noise():
  from videogpt_jax.input import DatasetConfig, test_batches

  network = i3d_weights.import_i3d(published_weights.i3d())
  nets = networks.Networks(FeatureNetwork('i3d', Extractor(networks.i3d_features, network)))
  (batch,) = test_batches(DatasetConfig(n_test_clips=6, sequence_length=9), batch_size=6)
  video = batch['video'] + 0.5
  noise = np.random.default_rng(0).standard_normal(video.shape, dtype=np.float32)
  scores = [
    _evaluate(np.clip(video + level * noise, 0, 1), video, networks=nets)['scores']['fvd']
    for level in (0, 0.05, 0.3)
  ]
  assert scores[0] < 1e-6 * scores[1]
  assert scores == sorted(scores)


if __name__ == '__main__':
  print(json.dumps(_score() | {'n_devices': jax.local_device_count()}))
