"""Folders of videos: what is found, kept, left out and refused."""

import logging
import pathlib
import subprocess
import sys

import pytest

from tests.input.reading import brightness, config_of, first
from tests.input.writing import write_video
from videogpt_jax.input import DatasetConfig, contents, pipeline

CLIPS = pathlib.Path(__file__).parents[2] / '../shared/clips'
needs_clips = pytest.mark.skipif(not CLIPS.exists(), reason=f'{CLIPS} is not here')


def _index(folder):
  from videogpt_jax.input import video_index

  return video_index.index(folder, {p.name: str(p) for p in sorted(folder.iterdir())})


@needs_clips
def test_real_clips_train_and_broken_ones_are_named_once(caplog):
  config = DatasetConfig('folder', str(CLIPS), resolution=64, random_flip=True)
  with caplog.at_level(logging.WARNING):
    info = contents.describe(config)
    batches = pipeline.train_batches(config, batch_size=3, seed=0)
    shapes = {next(batches)['video'].shape for _ in range(3)}
    assert sum(len(b['mask']) for b in pipeline.test_batches(config, batch_size=1)) == info.n_test
  assert shapes == {(3, 16, 64, 64, 3)}
  assert info.n_train + info.n_test == 8 and info.n_test == 1 and info.class_names is None
  warnings = [record.getMessage() for record in caplog.records if 'skipped' in record.getMessage()]
  assert len(warnings) == 1 and 'skipped 3 of 11' in warnings[0]
  for name in ('corrupted.mp4', 'rotated_90.mov', 'unordered_pts.mov'):
    assert warnings[0].count(name) == 1


@needs_clips
def test_a_program_that_reads_videos_ends(tmp_path):
  program = (
    'from videogpt_jax.input import DatasetConfig, train_batches\n'
    f'config = DatasetConfig("folder", {str(CLIPS)!r}, resolution=8)\n'
    'batches = train_batches(config, batch_size=2, seed=0)\n'
    'next(batches)\n'
  )
  root = pathlib.Path(__file__).parents[2]
  subprocess.run([sys.executable, '-c', program], cwd=root, timeout=120, check=True)


def test_folders_are_classes_and_splits(tmp_path):
  for name in ('train/run/a.mkv', 'train/sit/b.avi', 'train/sit/deep/c.mp4', 'test/sit/d.mov'):
    write_video(tmp_path / name, n_frames=6)
  config = config_of('folder', tmp_path, random_start=False)
  assert contents.describe(config) == contents.DatasetInfo(3, 1, ('run', 'sit'))
  batch = first(config, batch_size=1)
  assert batch['label'].tolist() == [1]
  assert brightness(batch['video']).tolist() == [[0, 1, 2, 3]]
  labels = first(config, 'train', batch_size=3)['label']
  assert sorted(labels.tolist()) == [0, 1, 1]


def test_a_folder_without_test_holds_the_same_videos_out_each_time(tmp_path):
  for i in range(7):
    write_video(tmp_path / f'{i}.mkv', n_frames=4 + i)
  config = config_of('folder', tmp_path, test_fraction=0.3)
  info = contents.describe(config)
  assert (info.n_train, info.n_test) == (5, 2)
  lengths = [contents.open_clips(config, split).lengths.tolist() for split in ('train', 'test')]
  assert sorted(lengths[0] + lengths[1]) == list(range(4, 11))


def test_what_was_found_is_kept_and_a_changed_file_is_read_again(tmp_path, monkeypatch):
  from videogpt_jax.input import video_index

  folder = tmp_path / 'videos'
  for name in ('a.mkv', 'b.mkv'):
    write_video(folder / name)
  _index(folder)
  scanned = []
  original = video_index.scan
  monkeypatch.setattr(
    video_index, 'scan', lambda *a, **k: scanned.append(a[1]) or original(*a, **k)
  )
  _index(folder)
  assert not scanned
  write_video(folder / 'b.mkv', n_frames=5)
  assert len(_index(folder)['b.mkv']) == 5
  assert scanned == ['b.mkv']


def test_looking_at_a_folder_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
  from videogpt_jax.input import video_index

  folder = tmp_path / 'videos'
  for i in range(5):
    write_video(folder / f'{i}.mkv', n_frames=3 + i)
  monkeypatch.setattr(video_index, '_KEEP_EVERY', 1)
  scanned, original = [], video_index.scan

  def breaking(address, name, **how):
    scanned.append(name)
    if len(scanned) == 4:
      raise KeyboardInterrupt
    return original(address, name, **how)

  monkeypatch.setattr(video_index, 'scan', breaking)
  with pytest.raises(KeyboardInterrupt):
    _index(folder)
  (cache,) = (tmp_path / 'cache/videogpt_jax').iterdir()
  cache.write_bytes(cache.read_bytes() + b'{"torn')
  found = _index(folder)
  assert {name: len(recording) for name, recording in found.items()} == {
    f'{i}.mkv': 3 + i for i in range(5)
  }
  assert len(scanned) == 4 + 2 and set(scanned) == set(found)


def test_hosts_that_share_the_cache_share_the_work(tmp_path, monkeypatch):
  from videogpt_jax.input import video_index

  folder = tmp_path / 'videos'
  for i in range(6):
    write_video(folder / f'{i}.mkv', n_frames=3)
  monkeypatch.setattr(video_index, '_KEEP_EVERY', 1)
  scanned, original = [], video_index.scan

  def another_host_at_work(address, name, **how):
    scanned.append(name)
    if len(scanned) == 1:  # while this host looks at its first, another one does all the rest
      _index(folder)
    return original(address, name, **how)

  monkeypatch.setattr(video_index, 'scan', another_host_at_work)
  assert len(_index(folder)) == 6
  assert len(scanned) == 7  # one of them twice


def test_unusable_folders_are_refused_with_the_reasons(tmp_path):
  folder = tmp_path / 'videos'
  with pytest.raises(ValueError, match='does not exist'):
    contents.describe(config_of('folder', folder))
  write_video(folder / 'short.mkv', n_frames=3)
  (folder / 'text.mp4').write_text('no video')
  (folder / 'empty.avi').touch()
  with pytest.raises(ValueError, match='no usable clip') as error:
    contents.describe(config_of('folder', folder))
  for part in ('short.mkv: too short (3 frames', 'text.mp4: decoding', 'empty.avi: empty file'):
    assert part in str(error.value)
  with pytest.raises(ValueError, match=r'text.mp4 holds no usable clip: text.mp4: '):
    contents.describe(config_of('folder', folder / 'text.mp4'))


def test_a_test_class_that_training_lacks_is_refused(tmp_path):
  for name in ('train/run/a.mkv', 'test/run/b.mkv', 'test/fly/c.mkv'):
    write_video(tmp_path / name)
  with pytest.raises(ValueError, match=r'classes that train/ lacks: fly'):
    contents.describe(config_of('folder', tmp_path))
