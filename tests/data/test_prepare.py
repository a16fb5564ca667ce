"""Raw videos to shards."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from data import local
from data.formats import Options, folder
from tests.input.writing import write_video
from videogpt_jax import pixels
from videogpt_jax.input import DatasetConfig, code_shards, contents, pipeline, shards

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = Options(resolution=8)


def _brightness(video):
  video = pixels.to_model_range(video)
  return ((video.mean(axis=(2, 3, 4)) + 0.5) * 25.5).round().astype(int).tolist()


@pytest.fixture
def source(tmp_path):
  for i, name in enumerate(
    ('train/run/a.mkv', 'train/sit/b.mp4', 'train/run/c.avi', 'test/sit/d.mkv')
  ):
    write_video(tmp_path / 'raw' / name, n_frames=5 + i)
  (tmp_path / 'raw/train/run/broken.mp4').write_text('no video')
  return tmp_path / 'raw'


def _run(source, out, options=OPTIONS, items_per_shard=2):
  listing = folder.list_items(str(source), options)
  listing = dataclasses.replace(listing, items_per_shard=items_per_shard)
  return local.run(local.Job('folder', str(source), str(out), options), listing, n_workers=1)


def _assert_content(path):
  config = DatasetConfig('tfrecord', str(path), resolution=8, sequence_length=5)
  assert contents.describe(config) == contents.DatasetInfo(3, 1, ('run', 'sit'))
  (batch,) = pipeline.test_batches(config, batch_size=1)
  assert batch['label'].tolist() == [1]
  assert _brightness(batch['video']) == [[0, 1, 2, 3, 4]]


@pytest.mark.slow
def test_the_program_makes_shards_that_the_pipeline_reads(source, tmp_path):
  out = tmp_path / 'out'
  command = [sys.executable, 'data/prepare.py', f'--source={source}', f'--out={out}', '--workers=2']
  result = subprocess.run(
    [*command, '--resolution=8'], cwd=ROOT, check=True, capture_output=True, text=True, timeout=300
  )
  _assert_content(out)
  assert 'train: 3 clips, 18 frames' in result.stdout and 'train/run/broken.mp4' in result.stdout
  manifest = json.loads((out / 'manifest.json').read_text())
  assert manifest['totals']['test'] == {'clips': 1, 'frames': 8}
  assert len(manifest['splits']['train'][0]['sha256']) == 64
  again = subprocess.run([*command, '--resolution=9'], cwd=ROOT, capture_output=True, text=True)
  assert again.returncode and 'begun with resolution 8 (not 9)' in again.stderr
  again = subprocess.run([*command, '--resolution=6,9'], cwd=ROOT, capture_output=True, text=True)
  assert again.returncode and 'begun with resolution 8 (not [6, 9])' in again.stderr


def test_an_interrupted_preparation_goes_on_with_what_is_missing(source, tmp_path):
  out = tmp_path / 'out'
  whole = _run(source, out)
  assert [len(whole.splits[split]) for split in ('train', 'test')] == [2, 1]
  kept, lost = (out / shard.file for shard in whole.splits['train'])
  (out / 'manifest.json').unlink()
  lost.unlink()
  for shard in (*whole.splits['train'], *whole.splits['test']):
    if shard.file != lost.name:
      (out / shard.file).with_suffix('.json').write_text('[]')
  changed = kept.stat().st_mtime_ns
  shards.load_manifest.cache_clear()
  assert _run(source, out).splits == whole.splits
  assert kept.stat().st_mtime_ns == changed and not list(out.glob('*-of-*.json'))


def _start(source, out):
  """The program, in a process of its own."""
  command = [sys.executable, 'data/prepare.py', f'--source={source}', f'--out={out}', '--workers=2']
  return subprocess.Popen(
    [*command, '--resolution=64'],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,  # to find its workers by
  )


def _is_running(session):
  return subprocess.run(['pgrep', '-s', str(session)], capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_killed_preparation_leaves_no_worker_behind_and_goes_on(tmp_path):
  for name in ('train/a.mkv', 'train/b.mkv', 'test/c.mkv'):
    write_video(tmp_path / 'raw' / name, n_frames=400, height=256, width=256)
  out = tmp_path / 'out'
  program = _start(tmp_path / 'raw', out)
  deadline = time.monotonic() + 200
  while not list(out.glob('.*.partial')) and time.monotonic() < deadline:
    time.sleep(0.02)
  program.kill()
  program.wait()
  while _is_running(program.pid) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not _is_running(program.pid)
  assert not (out / 'manifest.json').exists() and list(out.glob('.*.partial'))
  again = _start(tmp_path / 'raw', out)
  _, printed = again.communicate(timeout=200)
  assert again.returncode == 0, printed
  assert '3/3 items' in printed and 'oneDNN' not in printed
  here = _run(tmp_path / 'raw', tmp_path / 'here', Options(resolution=64), items_per_shard=64)
  assert shards.load_manifest(str(out)).splits == here.splits


def test_shards_and_codes_may_be_anywhere_that_tensorflow_writes(source):
  """On a bucket, say; this file system is in memory."""
  manifest = _run(source, 'ram://bucket/shards')
  assert manifest.totals()['train'] == {'clips': 3, 'frames': 18}
  _assert_content('ram://bucket/shards')
  assert _run(source, 'ram://bucket/shards').splits == manifest.splits  # finished before
  with pytest.raises(ValueError, match=r'begun with resolution 8 \(not 9\)'):
    _run(source, 'ram://bucket/shards', Options(resolution=9))
  config = DatasetConfig('tfrecord', 'ram://bucket/shards', resolution=8, sequence_length=5)
  code_shards.write_codes(
    config,
    lambda video: np.zeros((len(video), 1, 2, 3), np.int32),
    'ram://bucket/codes',
    made_from={},
    progress=lambda *_: None,
  )
  codes = DatasetConfig('codes', 'ram://bucket/codes')
  assert contents.describe(codes) == contents.DatasetInfo(3, 1, ('run', 'sit'))
  assert next(pipeline.train_batches(codes, batch_size=2, seed=0))['codes'].shape == (2, 1, 2, 3)


def test_frames_may_be_wider_than_high(source, tmp_path):
  for encoding in ('raw', 'png'):
    options = Options(resolution=(6, 14), encoding=encoding)
    out = tmp_path / f'wide-{encoding}'
    assert tuple(_run(source, out, options).shape) == (6, 14, 3)
    (out / 'manifest.json').unlink()
    shards.load_manifest.cache_clear()
    _run(source, out, options)  # the same job, although JSON knows no tuples
    config = DatasetConfig('tfrecord', str(out), resolution=(6, 14), sequence_length=5)
    (batch,) = pipeline.test_batches(config, batch_size=1)
    assert batch['video'].shape == (1, 5, 6, 14, 3) and batch['video'].dtype == np.uint8
    assert _brightness(batch['video']) == [[0, 1, 2, 3, 4]]


def test_long_recordings_are_cut_and_frame_rates_lowered(tmp_path):
  for name in ('train/a.mkv', 'test/b.mkv'):
    write_video(tmp_path / 'raw' / name, n_frames=13)
  manifest = _run(tmp_path / 'raw', tmp_path / 'cut', Options(resolution=8, max_frames=5))
  assert manifest.splits['train'][0].lengths == [5, 5, 3]
  manifest = _run(
    tmp_path / 'raw', tmp_path / 'slow', Options(resolution=8, fps=5.0, encoding='png')
  )
  assert manifest.splits['train'][0].lengths == [7]
  config = DatasetConfig('tfrecord', str(tmp_path / 'slow'), resolution=8, sequence_length=7)
  (batch,) = pipeline.test_batches(config, batch_size=1)
  assert _brightness(batch['video']) == [[0, 2, 4, 6, 8, 10, 12]]


def test_unusable_sources_and_targets_are_refused(source, tmp_path):
  with pytest.raises(ValueError, match='does not exist'):
    _run(tmp_path / 'none', tmp_path / 'out')
  with pytest.raises(ValueError, match='holds other files'):
    _run(source, source)
  (tmp_path / 'text').mkdir()
  for name in 'ab':
    (tmp_path / f'text/{name}.mp4').write_text('no video')
  with pytest.raises(ValueError, match=r'no usable clip: a\.mp4: .*; b\.mp4: '):
    _run(tmp_path / 'text', tmp_path / 'out')
  with pytest.raises(ValueError, match='encoding'):
    Options(encoding='bmp')


def test_beam_makes_the_same_records(source, tmp_path):
  pytest.importorskip('apache_beam', reason='the optional apache-beam is not installed')
  from data import beam

  listing = folder.list_items(str(source), OPTIONS)
  job = local.Job('folder', str(source), str(tmp_path / 'beam'), OPTIONS)
  manifest = beam.run(job, listing, ['--runner=DirectRunner'])
  _assert_content(tmp_path / 'beam')
  here = _run(source, tmp_path / 'local')
  assert manifest.totals() == here.totals() and len(manifest.skipped) == 1
  np.testing.assert_array_equal(manifest.shape, here.shape)
