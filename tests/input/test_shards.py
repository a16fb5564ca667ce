"""TFRecord shards of clips and of codes, and noise."""

import dataclasses
import itertools
import logging
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.input.reading import config_of, first
from tests.input.writing import write_shard
from videogpt_jax import pixels
from videogpt_jax.input import DatasetConfig, contents, pipeline, shard_index, shards


@pytest.mark.parametrize('encode', [np.ndarray.tobytes, lambda x: tf.io.encode_png(x).numpy()])
def test_shards_give_frames_labels_and_actions_of_the_same_moment(tmp_path, encode):
  write_shard(tmp_path / 'train-0.tfrecord', encode=encode)
  write_shard(tmp_path / 'train-1.tfrecord', lengths=(3, 9), first=3, encode=encode)
  write_shard(tmp_path / 'test-0.tfrecord', lengths=(5,), first=7, encode=encode)
  shard_index.index_directory(str(tmp_path), class_names=('even', 'odd')).save(str(tmp_path))
  config = config_of('tfrecord', tmp_path)
  assert contents.describe(config) == contents.DatasetInfo(4, 1, ('even', 'odd'), 2)
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


def test_actions_of_frames_that_are_left_out_are_added_up_unless_they_are_choices(tmp_path):
  for name in ('train-0', 'test-0'):
    write_shard(tmp_path / f'{name}.tfrecord', lengths=(9,))
    write_shard(tmp_path / 'chosen' / f'{name}.tfrecord', lengths=(9,), actions=np.eye(9, 3)[::-1])
  for folder in (tmp_path, tmp_path / 'chosen'):
    shard_index.index_directory(str(folder)).save(str(folder))
  batch = first(config_of('tfrecord', tmp_path, frame_skip=2), 'train', batch_size=8)
  frame = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int)
  assert set(frame[:, 0]) == {0, 1, 2}
  added = np.where(frame < 8, 2 * frame + 2 * (frame + 1), 2 * frame)  # 8 is the last frame
  np.testing.assert_array_equal(batch['actions'][..., 0], added)
  chosen = config_of('tfrecord', tmp_path / 'chosen')
  assert first(chosen)['actions'].shape[1:] == (4, 3)
  with pytest.raises(ValueError, match=r'chosen: its actions are choices.*frame_skip=1'):
    first(dataclasses.replace(chosen, frame_skip=2))


def test_clips_with_actions_are_not_mirrored_unless_it_is_said_how(tmp_path, caplog):
  write_shard(tmp_path / 'train-0.tfrecord')
  write_shard(tmp_path / 'test-0.tfrecord')
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  config = config_of('tfrecord', tmp_path, random_flip=True)
  with caplog.at_level(logging.INFO):
    for _ in range(2):
      first(config, 'train')
  assert caplog.text.count(f'{tmp_path}: clips are not mirrored') == 1


def test_a_shard_cut_short_loses_its_last_records_only(tmp_path, caplog):
  for name in ('train-0', 'test-0'):
    write_shard(tmp_path / f'{name}.tfrecord')
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  content = (tmp_path / 'train-0.tfrecord').read_bytes()
  (tmp_path / 'train-0.tfrecord').write_bytes(content[:-9])
  with caplog.at_level(logging.WARNING):
    assert contents.describe(config_of('tfrecord', tmp_path)).n_train == 2
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
    first(config_of('tfrecord', tmp_path), 'train')


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
  config = config_of('tfrecord', tmp_path / 'shards')
  with pytest.raises(ValueError, match='is no directory'):
    contents.describe(config)
  write_shard(tmp_path / 'shards' / 'train-0.tfrecord')
  with pytest.raises(ValueError, match=r'no manifest\.json.*--index'):
    contents.describe(config)
  (tmp_path / 'shards' / 'manifest.json').write_text('{}')
  with pytest.raises(ValueError, match='cannot be read'):
    contents.describe(config)
  (tmp_path / 'shards' / 'train-0.tfrecord').write_text('no record')
  with pytest.raises(ValueError, match='no readable records'):
    shard_index.index_directory(str(tmp_path / 'shards'))


def test_training_records_are_held_out_where_there_are_no_test_shards(tmp_path):
  write_shard(tmp_path / 'train-0.tfrecord', lengths=(4,) * 9)
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  config = config_of('tfrecord', tmp_path, test_fraction=0.34)
  parts = {'train': [], 'test': []}
  for split in parts:
    clips = contents.open_clips(config, split)
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
  config = config_of('codes', tmp_path)
  batch = first(config)
  np.testing.assert_array_equal(batch['codes'][0], crops[0])
  batch = first(config, 'train', batch_size=20)
  assert batch['codes'].dtype == np.int32 and batch['codes'].shape == (20, 2, 4, 5)
  which = batch['codes'][:, 0, 0, 0] // 40
  assert set(which.tolist()) == {0, 1, 2}
  video = pixels.to_model_range(batch['video'])
  np.testing.assert_allclose(video[:, 0, 0, 0, 0], which / 255 - 0.5, atol=1e-6)
  assert (batch['label'] == 1).all()
  with pytest.raises(ValueError, match=r"holds codes.*'codes'"):
    contents.describe(dataclasses.replace(config, source='tfrecord'))


def test_random_clips_are_reproducible_noise():
  config = config_of('random', '')
  a, b = (pixels.to_model_range(first(config, 'train')['video']) for _ in range(2))
  np.testing.assert_array_equal(a, b)
  assert 0.2 < a.std() < 0.4


def test_it_is_known_what_has_been_through_lossy_compression(tmp_path):
  raw = {'moving_mnist', 'vizdoom', 'bair'}
  made_from = [{'format': name} for name in ('ucf101', 'folder', 'robonet', *sorted(raw))] + [{}]
  for number, (encoding, made) in enumerate(itertools.product(('raw', 'jpeg'), made_from)):
    directory = tmp_path / str(number)
    directory.mkdir()
    shards.Manifest(encoding, (4, 4, 3), {}, made_from=made).save(str(directory))
    expected = 'JPEG frames' if encoding == 'jpeg' else 'frames of video files'
    if encoding == 'raw' and (not made or made['format'] in raw):
      expected = ''
    assert contents.compression(config_of('tfrecord', directory)) == expected
  assert contents.compression(config_of('folder', tmp_path)) == 'video files'
  assert contents.compression(DatasetConfig()) == ''
  of_builder = lambda name: contents.compression(DatasetConfig('tfds', name=name))
  assert of_builder('ucf101/ucf101_1') and not of_builder('bair_robot_pushing_small')
