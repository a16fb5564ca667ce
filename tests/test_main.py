"""The entry points as a user calls them, in processes of their own."""

import json
import os
import re
import shutil
import subprocess
import sys

import av
import pytest
from PIL import Image

from tests.conftest import QUICK

CONFIG = '--config=tests/tiny_config.py'

ENVIRONMENT = os.environ | {'XLA_FLAGS': QUICK, 'JAX_PLATFORMS': 'cpu'}


def call(module, *args, timeout=300, **environment):
  return subprocess.run(
    [sys.executable, '-m', f'videogpt_jax.{module}', *args],
    capture_output=True,
    text=True,
    timeout=timeout,
    env=ENVIRONMENT | environment,
  )


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A workdir after the whole job, and what was printed; compiled programs are beside it."""
  workdir = tmp_path_factory.mktemp('run') / 'tiny'
  done = call('main', CONFIG, f'--workdir={workdir}', **cache(workdir))
  assert done.returncode == 0, done.stderr
  return workdir, done.stdout


def test_the_whole_job_leaves_every_file_and_figure(finished):
  workdir, printed = finished
  metrics = json.loads((workdir / 'metrics.json').read_text())
  for name in (
    'reconstruction_psnr',
    'codebook_perplexity',
    'prior_bits_per_code',
    'unigram_bits_per_code',
    'sample_seconds_per_clip',
  ):
    assert metrics[name] > 0
    assert f'{name} ' in printed
  for name in ('samples.gif', 'reconstructions.gif'):
    assert Image.open(workdir / name).n_frames == 4
  for name in ('samples.mp4', 'samples/0002.mp4'):
    with av.open(str(workdir / name)) as container:
      assert len(list(container.decode(video=0))) == 4
  assert json.loads((workdir / 'config.json').read_text())['prior']['n_layers'] == 1
  for stage in ('vqvae', 'prior'):
    assert list((workdir / 'tensorboard' / stage).glob('events.*'))
    assert (workdir / stage / 'checkpoints' / '4').is_dir()


def test_the_report_of_a_run_shows_all_of_it(finished):
  text = (finished[0] / 'report.html').read_text()
  found = re.findall('<h2[^>]*>(.*?)</h2>', text)
  assert found == [
    'Generated videos',
    'Originals and reconstructions',
    'Scores',
    'Training',
    'Use of the codebook',
    'Time and hardware',
    'Configuration',
  ]
  charts = set(re.findall('<h4>(.*?)</h4>', text))
  assert charts >= {
    'loss',
    'bits_per_code',
    'prior_bits_per_code',
    'reconstruction_psnr',
    'codebook_perplexity',
    'codebook_usage',
    'steps_per_second',
    'learning_rate',
  }
  for stage in ('vqvae', 'prior', 'sample', 'evaluate'):
    row = re.search(f'<td data-head="stage">{stage}</td>(.*?)</tr>', text)[1]
    assert re.search(r'\d:\d\d<', row) and ' x cpu' in row
  assert text.count('<video') == 3 and 'http-equiv' not in text


def test_goodput_is_among_the_events_of_tensorboard(finished):
  from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
  from tensorboard.util import tensor_util

  for stage in ('vqvae', 'prior'):
    events = EventAccumulator(str(finished[0] / 'tensorboard' / stage))
    events.Reload()
    last = events.Tensors('time/goodput')[-1].tensor_proto
    assert 0 < tensor_util.make_ndarray(last) <= 1


def cache(workdir):
  """Environment of a compilation cache beside a workdir, which keeps everything."""
  return {
    'JAX_COMPILATION_CACHE_DIR': str(workdir.parent / 'compiled'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }


def test_compiled_programs_are_kept_and_a_sample_of_the_same_shape_finds_them(finished, tmp_path):
  workdir, _ = finished
  names = {file.name.split('-')[0] for file in (workdir.parent / 'compiled').iterdir()}
  assert {'jit_train_step', 'jit_draw', 'jit_videos'} <= names
  sample = 'sample', f'--model={workdir}', '--num=3', f'--out={tmp_path}'
  done = call(*sample, **cache(workdir), JAX_DEBUG_LOG_MODULES='jax')
  assert done.returncode == 0, done.stderr
  for name in ('jit_draw', 'jit_videos'):
    assert f"compilation cache hit for '{name}'" in done.stderr


def test_a_run_says_what_it_runs_on(finished):
  assert 'running on 1 x cpu' in finished[1]


def test_finished_stages_are_not_run_again(finished):
  workdir, _ = finished
  before = {file: file.stat().st_mtime_ns for file in workdir.glob('*/checkpoints/*')}
  again = call('main', CONFIG, f'--workdir={workdir}')
  assert again.returncode == 0, again.stderr
  assert again.stdout.count('finished before') == 4
  assert {file: file.stat().st_mtime_ns for file in workdir.glob('*/checkpoints/*')} == before


def test_other_samples_settings_draw_anew_and_train_nothing(finished):
  workdir, _ = finished
  again = call('main', CONFIG, f'--workdir={workdir}', '--config.sample.top_k=3')
  assert again.returncode == 0, again.stderr
  assert 'vqvae: finished before' in again.stdout
  assert json.loads((workdir / 'samples.json').read_text())['settings']['top_k'] == 3


def test_sample_writes_videos_of_the_class_asked_for_and_goes_on_from_one(finished, tmp_path):
  out, more = tmp_path / 'out', tmp_path / 'more'
  wanted = (f'--workdir={finished[0]}', '--num=2', '--class_label=7', '--seed=3')
  done = call('sample', *wanted, f'--out={out}', '--num_frames=6', '--best_of=2')
  assert done.returncode == 0, done.stderr
  told = json.loads((out / 'samples.json').read_text())
  assert [video['label'] for video in told['videos']] == ['7', '7']
  assert all(video['log_likelihood_nats'] < 0 for video in told['videos'])
  assert told['settings']['best_of'] == 2 and told['settings']['class_label'] == '7'
  assert 'compiling the sampler of later clips' in done.stderr
  for stage in ('vqvae', 'prior'):
    assert f'{stage}: the last checkpoint, step 4\n' in done.stdout
  with av.open(str(out / 'samples' / '0001.mp4')) as container:
    assert len(list(container.decode(video=0))) == 6

  clip = out / 'samples' / '0001.mp4'
  done = call('sample', *wanted, f'--out={more}', f'--continue={clip}')
  assert done.returncode == 0, done.stderr
  settings = json.loads((more / 'samples.json').read_text())['settings']
  assert settings['continue'] == str(clip) and settings['num_frames'] == 4


@pytest.mark.slow
def test_a_prior_trains_on_codes_of_its_own_tokenizer_only(finished, tmp_path):
  workdir, codes = tmp_path / 'run', tmp_path / 'codes'
  shutil.copytree(finished[0] / 'vqvae', workdir / 'vqvae')
  shutil.copy(finished[0] / 'config.json', workdir)
  few = '--config.dataset.n_train_clips=16'
  done = call('encode', CONFIG, few, f'--model={workdir}', f'--out={codes}', '--batch_size=8')
  assert done.returncode == 0, done.stderr
  train = (
    'main',
    CONFIG,
    f'--workdir={workdir}',
    '--stages=prior',
    f'--config.prior_codes={codes}',
  )
  done = call(*train)
  assert done.returncode == 0, done.stderr
  assert 'prior_bits_per_code' in done.stdout

  shutil.rmtree(workdir / 'prior')
  manifest = codes / 'manifest.json'
  sha256 = json.loads(manifest.read_text())['made_from']['tokenizer_sha256']
  manifest.write_text(manifest.read_text().replace(sha256, '0' * 64))
  done = call(*train)
  assert done.returncode != 0
  assert 'were made with another VQ-VAE' in done.stderr


BAD = {
  'stage': (['--stages=vqvae,priors'], "unknown stage 'priors'; stages are vqvae"),
  'key': (['--config.prior.n_layer=2'], 'unknown configuration key n_layer Did you mean'),
  'other key': (['--config.nothing=2'], 'unknown configuration key nothing'),
  'no stage': (['--stages='], "unknown stage ''"),
  'zero heads': (['--config.prior.n_heads=0'], 'prior.n_heads (0) must be at least 1'),
  'dtype': (['--config.vqvae.dtype=float17'], "vqvae.dtype 'float17' is not one of"),
  'codes': (['--config.prior_codes=nowhere'], 'nowhere'),
  'resolution': (['--config.dataset.resolution=18'], r'resolution (18) must be divisible'),
  'heads': (['--config.prior.n_heads=5'], 'prior.hidden_dim (24) must be divisible by n_heads (5)'),
  'kernel': (
    ['--config.prior.attn_backend=splash', '--config.prior.attn_dropout=0'],
    'on cpu; use auto, dense, blockwise',
  ),
  'kernel with dropout': (
    ['--config.prior.attn_backend=splash', '--config.prior.attn_dropout=0.3'],
    'give up one of the two',
  ),
  'blocks': (
    ['--config.prior.attn_type=sparse', '--config.prior.attn_block=3'],
    'blocks of 3 do not divide',
  ),
  'order': (['--stages=prior'], 'stage prior needs a trained vqvae'),
  'classes': (['--config.prior.n_classes=3'], 'n_classes (3) must be 0 (unconditional) or the 10'),
  'mesh': (['--config.mesh.fsdp=3'], 'does not divide the 1 devices'),
  'profile': (['--profile_steps=12-10'], '--profile_steps (12-10) must be FIRST-LAST'),
  'long profile': (['--profile_steps=2-9'], 'must end by the last step of vqvae, 4'),
  'tracker': (['--config.tracking.to=wandb,board'], "tracking.to ('wandb,board') must name some"),
  'top_k': (['--config.sample.top_k=99'], 'top_k (99) must be in [1, 16]'),
  'file': (['--config=configs/none.py'], 'none.py'),
  'variant': (
    ['--config=configs/ucf101.py:96'],
    "error: variant ('96') must be one of 128, 64, published",
  ),
}


QUICK = ('stage', 'key', 'order', 'classes', 'mesh', 'file', 'variant')
"""One of each place that refuses; the others, a process each, run with the slow tests."""


@pytest.mark.parametrize(
  'case', [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in BAD]
)
def test_bad_input_ends_with_one_line_and_harms_nothing(case, tmp_path):
  flags, message = BAD[case]
  workdir = tmp_path / 'run'
  done = call('main', CONFIG, f'--workdir={workdir}', *flags)
  assert done.returncode != 0
  lines = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
  assert len(lines) == 1, done.stderr
  assert message in lines[0]
  assert 'Traceback' not in done.stderr
  assert not workdir.exists()


def test_a_workdir_of_another_configuration_is_refused_and_left_alone(finished):
  workdir, _ = finished
  before = (workdir / 'config.json').read_text()
  done = call('main', CONFIG, f'--workdir={workdir}', '--config.vqvae.n_codes=32')
  assert done.returncode != 0
  assert 'vqvae.n_codes is 16 there and 32 here' in done.stderr
  assert (workdir / 'config.json').read_text() == before


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
  (tmp_path / 'letter.txt').write_text('dear')
  done = call('main', CONFIG, f'--workdir={tmp_path}')
  assert done.returncode != 0
  assert 'holds files and no config.json' in done.stderr
  assert [file.name for file in tmp_path.iterdir()] == ['letter.txt']


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(tmp_path):
  """Killed once a checkpoint is on disk, then run again."""
  workdir = tmp_path / 'run'
  flags = ['--stages=vqvae', '--config.vqvae_training.steps=2000']
  command = [sys.executable, '-m', 'videogpt_jax.main', CONFIG, f'--workdir={workdir}', *flags]

  def saved():
    return [int(f.name) for f in workdir.glob('vqvae/checkpoints/*') if f.name.isdigit()]

  def first_step_before(stop):
    """Runs until `stop` holds, and kills; returns the first step that was reported."""
    steps = []
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
      for line in process.stdout:
        if ' step ' in line:
          steps.append(int(line.split(' step ')[1].split('/')[0]))
        if steps and stop():
          process.kill()
          break
    return steps[0]

  assert first_step_before(saved) == 1
  done = max(saved())
  assert first_step_before(lambda: True) == done + 1
