"""Data sets of every kind: what is found, what is left out, what is refused."""

import dataclasses
import logging
import pathlib
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tests.input.writing import write_shard, write_video
from videogpt_jax.input import DatasetConfig, pipeline, shard_index

CLIPS = pathlib.Path(__file__).parents[2] / '../shared/clips'
needs_clips = pytest.mark.skipif(not CLIPS.exists(), reason=f'{CLIPS} is not here')


def _config(source, path, **changes):
  return DatasetConfig(source, str(path), resolution=4, sequence_length=4, **changes)


def _first(config, split='test', batch_size=2, **arguments):
  if split == 'test':
    return next(pipeline.test_batches(config, batch_size=batch_size))
  return next(pipeline.train_batches(config, batch_size=batch_size, seed=3))


def _brightness(video):
  """A tenth of the brightness of each frame: [B T]."""
  return ((video.mean(axis=(2, 3, 4)) + 0.5) * 25.5).round().astype(int)


@needs_clips
def test_real_clips_train_and_broken_ones_are_named_once(caplog):
  config = DatasetConfig('folder', str(CLIPS), resolution=64, random_flip=True)
  with caplog.at_level(logging.WARNING):
    info = pipeline.describe(config)
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
  config = _config('folder', tmp_path, random_start=False)
  assert pipeline.describe(config) == pipeline.DatasetInfo(3, 1, ('run', 'sit'))
  batch = _first(config, batch_size=1)
  assert batch['label'].tolist() == [1]
  assert _brightness(batch['video']).tolist() == [[0, 1, 2, 3]]
  labels = _first(config, 'train', batch_size=3)['label']
  assert sorted(labels.tolist()) == [0, 1, 1]


def test_a_folder_without_test_holds_the_same_videos_out_each_time(tmp_path):
  for i in range(7):
    write_video(tmp_path / f'{i}.mkv', n_frames=4 + i)
  config = _config('folder', tmp_path, test_fraction=0.3)
  info = pipeline.describe(config)
  assert (info.n_train, info.n_test) == (5, 2)
  lengths = [pipeline.open_clips(config, split).lengths.tolist() for split in ('train', 'test')]
  assert sorted(lengths[0] + lengths[1]) == list(range(4, 11))


def test_what_was_found_is_kept_and_a_changed_file_is_read_again(tmp_path, monkeypatch):
  from videogpt_jax.input import video_index

  folder = tmp_path / 'videos'
  for name in ('a.mkv', 'b.mkv'):
    write_video(folder / name)
  video_index.index(folder)
  video_index.index.cache_clear()
  scanned = []
  original = video_index.scan
  monkeypatch.setattr(video_index, 'scan', lambda path: scanned.append(path.name) or original(path))
  video_index.index(folder)
  assert not scanned
  write_video(folder / 'b.mkv', n_frames=5)
  video_index.index.cache_clear()
  assert len(video_index.index(folder)['b.mkv'].stamps) == 5
  assert scanned == ['b.mkv']


def test_looking_at_a_folder_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
  from videogpt_jax.input import video_index

  folder = tmp_path / 'videos'
  for i in range(5):
    write_video(folder / f'{i}.mkv', n_frames=3 + i)
  monkeypatch.setattr(video_index, '_KEEP_EVERY', 1)
  scanned, original = [], video_index.scan

  def breaking(path):
    scanned.append(path.name)
    if len(scanned) == 4:
      raise KeyboardInterrupt
    return original(path)

  monkeypatch.setattr(video_index, 'scan', breaking)
  with pytest.raises(KeyboardInterrupt):
    video_index.index(folder)
  (cache,) = (tmp_path / 'cache/videogpt_jax').iterdir()
  cache.write_bytes(cache.read_bytes() + b'{"torn')
  found = video_index.index(folder)
  assert {name: len(recording.stamps) for name, recording in found.items()} == {
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

  def another_host_at_work(path):
    scanned.append(path.name)
    if len(scanned) == 1:  # while this host looks at its first, another one does all the rest
      video_index.index.__wrapped__(folder)
    return original(path)

  monkeypatch.setattr(video_index, 'scan', another_host_at_work)
  assert len(video_index.index(folder)) == 6
  assert len(scanned) == 7  # one of them twice


def test_unusable_folders_are_refused_with_the_reasons(tmp_path):
  folder = tmp_path / 'videos'
  with pytest.raises(ValueError, match='does not exist'):
    pipeline.describe(_config('folder', folder))
  write_video(folder / 'short.mkv', n_frames=3)
  (folder / 'text.mp4').write_text('no video')
  (folder / 'empty.avi').touch()
  with pytest.raises(ValueError, match='no usable clip') as error:
    pipeline.describe(_config('folder', folder))
  for part in ('short.mkv: too short (3 frames', 'text.mp4: decoding', 'empty.avi: empty file'):
    assert part in str(error.value)
  with pytest.raises(ValueError, match='is no folder'):
    pipeline.describe(_config('folder', folder / 'text.mp4'))


def test_a_test_class_that_training_lacks_is_refused(tmp_path):
  for name in ('train/run/a.mkv', 'test/run/b.mkv', 'test/fly/c.mkv'):
    write_video(tmp_path / name)
  with pytest.raises(ValueError, match=r'classes that train/ lacks: fly'):
    pipeline.describe(_config('folder', tmp_path))


def _write_hdf5(path, **arrays):
  with h5py.File(path, 'w') as file:
    for key, array in arrays.items():
      file[key] = array
  return path


def _frames(n):
  return np.broadcast_to(10 * np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 5, 6, 3))


def test_hdf5_clips_stay_within_their_recording(tmp_path):
  path = _write_hdf5(
    tmp_path / 'a.h5',
    train_data=_frames(20),
    train_idx=np.array([0, 6, 9]),  # 6, 3 (too short) and 11 frames
    test_data=_frames(9),
    test_idx=np.array([0, 4]),
  )
  config = _config('hdf5', path)
  assert pipeline.describe(config) == pipeline.DatasetInfo(2, 2)
  assert _brightness(_first(config)['video']).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
  batches = pipeline.train_batches(config, batch_size=8, seed=0)
  seen = {tuple(clip) for _ in range(9) for clip in _brightness(next(batches)['video']).tolist()}
  assert seen == {tuple(range(i, i + 4)) for i in (0, 1, 2, *range(9, 17))}


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'train_data': _frames(9)}, 'lacks train_idx, it has train_data'),
    ({'train_data': _frames(9) / 2.0, 'train_idx': np.array([0])}, 'float64.*uint8'),
    ({'train_data': _frames(9), 'train_idx': np.array([0, 12])}, 'at most the 9 frames'),
    ({'train_data': _frames(9), 'train_idx': np.array([0, 3, 6])}, 'no usable clip'),
  ],
)
def test_hdf5_of_another_layout_is_refused(tmp_path, arrays, message):
  with pytest.raises(ValueError, match=message):
    _first(_config('hdf5', _write_hdf5(tmp_path / 'a.h5', **arrays)), 'train')


def test_hdf5_that_is_missing_or_cut_short_is_refused(tmp_path):
  with pytest.raises(ValueError, match='is no file'):
    _first(_config('hdf5', tmp_path / 'none.h5'))
  (tmp_path / 'a.h5').write_text('no HDF5')
  with pytest.raises(ValueError, match='is not HDF5'):
    _first(_config('hdf5', tmp_path / 'a.h5'))


@pytest.mark.parametrize('encode', [np.ndarray.tobytes, lambda x: tf.io.encode_png(x).numpy()])
def test_shards_give_frames_labels_and_actions_of_the_same_moment(tmp_path, encode):
  write_shard(tmp_path / 'train-0.tfrecord', encode=encode)
  write_shard(tmp_path / 'train-1.tfrecord', lengths=(3, 9), first=3, encode=encode)
  write_shard(tmp_path / 'test-0.tfrecord', lengths=(5,), first=7, encode=encode)
  shard_index.index_directory(str(tmp_path), class_names=('even', 'odd')).save(str(tmp_path))
  config = _config('tfrecord', tmp_path)
  assert pipeline.describe(config) == pipeline.DatasetInfo(4, 1, ('even', 'odd'), 2)
  batches = pipeline.train_batches(config, batch_size=8, seed=0)
  seen = set()
  for _ in range(8):
    batch = next(batches)
    values = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int)
    record, frames = values // 10, values % 10
    assert (np.diff(frames) == 1).all() and (batch['label'] == record[:, 0] % 2).all()
    np.testing.assert_array_equal(
      batch['actions'], 100 * record[..., None] + 2 * frames[..., None] + [0, 1]
    )
    seen |= set(zip(record[:, 0].tolist(), frames[:, 0].tolist(), strict=True))
  n_places = {0: 2, 1: 4, 2: 3, 4: 6}
  assert seen == {(record, i) for record, n in n_places.items() for i in range(n)}


def test_a_shard_cut_short_loses_its_last_records_only(tmp_path, caplog):
  for name in ('train-0', 'test-0'):
    write_shard(tmp_path / f'{name}.tfrecord')
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  content = (tmp_path / 'train-0.tfrecord').read_bytes()
  (tmp_path / 'train-0.tfrecord').write_bytes(content[:-9])
  with caplog.at_level(logging.WARNING):
    assert pipeline.describe(_config('tfrecord', tmp_path)).n_train == 2
  assert 'skipped 1 of 3: train-0.tfrecord record 2' in caplog.text
  shard, *_, problem = shard_index.index_shard(str(tmp_path / 'train-0.tfrecord'))
  assert len(shard.offsets) == 2 and 'after 2 records' in problem


def test_a_record_that_does_not_match_its_checksum_is_an_error(tmp_path):
  path = write_shard(tmp_path / 'train-0.tfrecord', lengths=(5,))
  shutil.copy(path, tmp_path / 'test-0.tfrecord')
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  content = bytearray(path.read_bytes())
  content[100] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match='corrupted record'):
    _first(_config('tfrecord', tmp_path), 'train')


def test_shards_whose_test_has_more_classes_than_their_training_are_refused(tmp_path):
  write_shard(tmp_path / 'train-0.tfrecord', lengths=(5,))  # of class 0
  write_shard(tmp_path / 'test-0.tfrecord', lengths=(5, 5))  # of classes 0 and 1
  with pytest.raises(ValueError, match=r'training shards have labels up to 0.*labels up to 1'):
    shard_index.index_directory(str(tmp_path))


def test_actions_that_are_not_one_a_frame_are_refused(tmp_path):
  for name in ('train-0', 'test-0'):
    write_shard(tmp_path / f'{name}.tfrecord', n_actions=9)
  with pytest.raises(ValueError, match='9 numbers are no actions of 5 frames'):
    shard_index.index_directory(str(tmp_path))


def test_directories_without_shards_or_manifest_are_refused(tmp_path):
  config = _config('tfrecord', tmp_path / 'shards')
  with pytest.raises(ValueError, match='is no directory'):
    pipeline.describe(config)
  write_shard(tmp_path / 'shards' / 'train-0.tfrecord')
  with pytest.raises(ValueError, match=r'no manifest\.json.*--index'):
    pipeline.describe(config)
  (tmp_path / 'shards' / 'manifest.json').write_text('{}')
  with pytest.raises(ValueError, match='cannot be read'):
    pipeline.describe(config)
  (tmp_path / 'shards' / 'train-0.tfrecord').write_text('no record')
  with pytest.raises(ValueError, match='no readable records'):
    shard_index.index_directory(str(tmp_path / 'shards'))


def test_training_records_are_held_out_where_there_are_no_test_shards(tmp_path):
  write_shard(tmp_path / 'train-0.tfrecord', lengths=(4,) * 9)
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  config = _config('tfrecord', tmp_path, test_fraction=0.34)
  parts = {'train': [], 'test': []}
  for split in parts:
    clips = pipeline.open_clips(config, split)
    parts[split] = [int(clips.read(i, 0.0)['video'][0, 0, 0, 0]) for i in range(clips.n)]
  assert len(parts['test']) == 3 and len({*parts['train'], *parts['test']}) == 9


def test_codes_come_with_what_a_prior_is_conditioned_on(tmp_path):
  def bytes_feature(arrays):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[a.tobytes() for a in arrays]))

  crops = np.arange(3 * 2 * 4 * 5, dtype=np.int32).reshape(3, 2, 4, 5)
  frames = np.arange(3, dtype=np.uint8)[:, None, None, None, None] + np.zeros(
    (1, 1, 6, 6, 3), np.uint8
  )
  example = tf.train.Example(
    features=tf.train.Features(
      feature={
        'codes': bytes_feature(crops),
        'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=[2, 4, 5])),
        'label': tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
        'first_frames': bytes_feature(frames),
      }
    )
  )
  for split in ('train', 'test'):
    with tf.io.TFRecordWriter(str(tmp_path / f'{split}-0.tfrecord')) as writer:
      writer.write(example.SerializeToString())
  manifest = shard_index.index_directory(
    str(tmp_path), made_from={'first_frames_shape': [1, 6, 6, 3]}
  )
  manifest.save(str(tmp_path))
  config = _config('codes', tmp_path)
  batch = _first(config)
  np.testing.assert_array_equal(batch['codes'][0], crops[0])
  batch = _first(config, 'train', batch_size=20)
  assert batch['codes'].dtype == np.int32 and batch['codes'].shape == (20, 2, 4, 5)
  which = batch['codes'][:, 0, 0, 0] // 40
  assert set(which.tolist()) == {0, 1, 2}
  np.testing.assert_allclose(batch['video'][:, 0, 0, 0, 0], which / 255 - 0.5, atol=1e-6)
  assert (batch['label'] == 1).all()
  with pytest.raises(ValueError, match=r"holds codes.*'codes'"):
    pipeline.describe(dataclasses.replace(config, source='tfrecord'))


def test_random_clips_are_reproducible_noise():
  config = _config('random', '')
  first, second = (_first(config, 'train')['video'] for _ in range(2))
  np.testing.assert_array_equal(first, second)
  assert 0.2 < first.std() < 0.4
