"""`evaluate --workdir` from trained models to scores, in processes of its own."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import QUICK
from tests.evaluation import published_weights
from videogpt_jax.interop import torch_file

_ROOT = pathlib.Path(__file__).parents[2]
_CONFIG = [
  '--config=tests/tiny_config.py',
  '--config.dataset.sequence_length=10',  # I3D takes 9 frames or more
  '--config.dataset.n_test_clips=3',
  '--config.dataset.n_train_clips=7',
  '--config.vqvae_training.steps=2',
  '--config.prior_training.steps=2',
]


def _call(module, *flags, cache):
  environment = os.environ | {'XLA_FLAGS': QUICK, 'JAX_PLATFORMS': 'cpu', 'XDG_CACHE_HOME': cache}
  command = [sys.executable, '-m', f'videogpt_jax.{module}', *flags]
  return subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, env=environment)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A workdir, I3D's weights by recipe in the published format, and flags that name both."""
  folder = tmp_path_factory.mktemp('scores')
  workdir, weights, cache = folder / 'run', folder / 'recipe_not_i3d.pt', str(folder / 'cache')
  done = _call('main', *_CONFIG, f'--workdir={workdir}', '--stages=vqvae', cache=cache)
  assert done.returncode == 0, done.stderr
  torch_file.write_checkpoint(weights, published_weights.i3d())
  digest = hashlib.sha256(weights.read_bytes()).hexdigest()
  flags = [f'--workdir={workdir}', '--protocol=all', '--batch_size=3']
  return folder, flags, [f'--fvd_weights={weights}', f'--trust_sha256={digest}']


@pytest.mark.slow
def test_a_workdir_is_scored_as_far_as_it_is_trained(trained):
  folder, flags, with_i3d = trained
  cache = str(folder / 'cache')
  tokenizer = _call('evaluate', *flags, *with_i3d, cache=cache)
  assert tokenizer.returncode == 0, tokenizer.stderr
  assert 'r_fvd' in tokenizer.stdout and 'fvd_star' not in tokenizer.stdout
  assert 'give the workdir a prior' in tokenizer.stdout

  half = [*_CONFIG, f'--workdir={folder / "run"}', '--stages=prior']
  assert _call('main', *half, cache=cache).returncode == 0
  config = folder / 'run' / 'config.json'
  values = json.loads(config.read_text())
  values['prior_training']['steps'] = 5
  config.write_text(json.dumps(values))
  done = _call('evaluate', *flags, *with_i3d, cache=cache)
  assert done.returncode == 0, done.stderr
  assert 'warning: prior is scored after step 2 of 5' in done.stdout

  record = json.loads((folder / 'run' / 'evaluation.json').read_text())
  scores = record['scores']
  for name in ('fvd', 'fvd_star', 'r_fvd', 'kvd', 'kvd_star', 'r_kvd', 'reconstruction_nmse'):
    assert name in scores
  assert min(scores['fvd'], scores['r_fvd']) > 0
  for name in ('prior_nats_per_code', 'prior_bits_per_pixel_dim', 'codebook_usage'):
    assert scores[name] > 0
  (file,) = record['weights']['i3d']
  assert file['file'] == 'recipe_not_i3d.pt' and 'trusted by digest' in file['holds']
  assert record['dataset']['source'] == 'digits' and record['clip']['n_frames'] == 10
  assert 'fvd, kvd' not in record['missing'] and 'inception_score' in record['missing']
  metrics = json.loads((folder / 'run' / 'metrics.json').read_text())
  assert metrics['fvd_star'] == scores['fvd_star']
  assert [line.split(':')[0] for line in record['in_use']] == ['vqvae', 'prior']
  report = (folder / 'run' / 'report.html').read_text()
  assert '>fvd_star</td>' in report and 'other weights' not in report
  assert len(list((folder / 'cache').rglob('weights/*.safetensors'))) == 1

  # Training clips as the reference are neither held out nor others for the floor.
  out = folder / 'train' / 'scores.json'
  train = [*flags, *with_i3d, f'--out={out}', '--reference_split=train']
  done = _call('evaluate', *train, cache=cache)
  assert done.returncode == 0, done.stderr
  on_train = json.loads(out.read_text())
  assert on_train['sets']['reference'] == {'origin': 'the train clips', 'n_clips': 7, 'lossy': ''}
  assert 'fvd_floor' in scores and 'fvd_floor' in on_train['missing']
  names = ('nearest_training_held_out', 'prior_bits_per_code')
  assert [on_train['scores'][name] for name in names] == [scores[name] for name in names]
  assert scores[names[0]] > 0

  # The export states no data set; with the run's it has the run's scores.
  export = [f'--model={folder / "run"}', f'--out={folder / "export"}']
  assert _call('export_torch', *export, cache=cache).returncode == 0
  out = folder / 'of_export' / 'scores.json'
  flags = [f'--model={folder / "export"}', f'--out={out}', *flags[1:], *_CONFIG[:4]]
  done = _call('evaluate', *flags, *with_i3d, cache=cache)
  assert done.returncode == 0, done.stderr
  found = json.loads(out.read_text())
  assert found['checkpoint'] == str(folder / 'export' / 'gpt.ckpt') and 'workdir' not in found
  assert found['scores'] == pytest.approx(scores, rel=1e-4)
  assert (out.parent / 'evaluation' / 'samples.npy').exists()


@pytest.mark.slow
def test_a_workdir_that_says_nothing_is_refused_in_one_line(trained, tmp_path):
  folder, _, _ = trained
  noise = tmp_path / 'noise'
  noise.mkdir()
  values = json.loads((folder / 'run' / 'config.json').read_text())
  values['dataset']['source'] = 'random'
  (noise / 'config.json').write_text(json.dumps(values))
  cases = {
    noise: 'states noise as its data set, as an import without --config does; give one with',
    tmp_path / 'none': 'none: no such file or folder',
  }
  for workdir, message in cases.items():
    done = _call('evaluate', f'--workdir={workdir}', cache=str(tmp_path))
    assert done.returncode == 1
    (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
    assert message in line and 'Traceback' not in done.stderr
