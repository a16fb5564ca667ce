"""Frames whose height and width differ, and the dtype of batches."""

import json

import ml_collections
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from tests.input.writing import write_shard, write_video
from videogpt_jax import config, pixels, resize, typed
from videogpt_jax.input import (
  DatasetConfig,
  code_shards,
  contents,
  inspection,
  pipeline,
  shard_index,
  video_scan,
)

SIZE = (36, 64)


def _batches(source, path='', **changes):
  dataset = DatasetConfig(
    source, str(path), **{'resolution': SIZE, 'sequence_length': 4, 'n_train_clips': 9} | changes
  )
  test = next(pipeline.test_batches(dataset, batch_size=2))
  return dataset, next(pipeline.train_batches(dataset, batch_size=3, seed=0)), test


@pytest.mark.parametrize('source', ['digits', 'random'])
def test_generated_clips_have_height_and_width(source):
  _, train, test = _batches(source)
  assert train['video'].shape == (3, 4, *SIZE, 3) and test['video'].shape == (2, 4, *SIZE, 3)


@pytest.mark.parametrize('size', [(30, 70), (70, 30)])
def test_digits_use_the_whole_frame_and_stay_inside(size):
  _, train, _ = _batches('digits', resolution=size, sequence_length=99, digit_speed=3.0)
  lit = train['video'][..., 0].max((0, 1)) > 0
  rows, columns = lit.any(1).nonzero()[0], lit.any(0).nonzero()[0]
  assert rows.min() < 4 and rows.max() >= size[0] - 4
  assert columns.min() < 4 and columns.max() >= size[1] - 4
  brightness = (train['video'][..., 0] + 0.5).sum((2, 3))
  np.testing.assert_allclose(
    brightness, brightness.mean(1, keepdims=True) + 0 * brightness, rtol=0.2
  )


def test_videos_are_resized_as_everywhere_else(tmp_path):
  for name in ('train/a.mkv', 'test/b.mkv'):
    write_video(tmp_path / name, height=50, width=60)
  _, _, test = _batches('folder', tmp_path)
  path = tmp_path / 'test/b.mkv'
  frames = np.stack(list(video_scan.scan(path).frames(np.arange(4), None)))
  expected = resize.resize_and_crop(frames / np.float32(255), SIZE) - 0.5
  np.testing.assert_allclose(test['video'][0], expected, atol=1e-4)


def test_codes_and_their_first_frames_have_height_and_width(tmp_path):
  video, _, test = _batches('random', n_test_clips=3)
  seen = []

  def encode(clips):
    seen.append(clips)
    return clips[:, ::2, ::4, ::8, 0].astype(np.int32)

  code_shards.write_codes(
    video, encode, str(tmp_path), n_cond_frames=2, made_from={}, progress=lambda *_: None
  )
  assert {clips.dtype for clips in seen} == {np.dtype(np.uint8)}
  _, train, of_codes = _batches('codes', tmp_path)
  assert train['codes'].shape == (3, 2, 9, 8) and train['video'].shape == (3, 2, *SIZE, 3)
  np.testing.assert_array_equal(of_codes['video'], test['video'][:, :2])
  np.testing.assert_array_equal(of_codes['codes'], test['video'][:, ::2, ::4, ::8, 0])


def _dtypes(source, path='', **changes):
  dataset, *batches = _batches(source, path, **changes)
  found = {str(batch['video'].dtype) for batch in batches}
  assert len(found) == 1
  return dataset.batch_dtype, found.pop()


def test_batches_are_8_bit_where_that_is_exact(tmp_path):
  assert _dtypes('random') == ('uint8', 'uint8')
  assert _dtypes('digits') == ('float32', 'float32')
  for split in ('train', 'test'):
    write_shard(tmp_path / f'{split}-0.tfrecord')  # of 4x6
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  assert _dtypes('tfrecord', tmp_path, resolution=(4, 6)) == ('uint8', 'uint8')
  assert _dtypes('tfrecord', tmp_path, resolution=4)[1] == 'float32'


def test_images_that_may_differ_in_size_are_resized(tmp_path):
  encode = lambda image: tf.io.encode_png(image).numpy()
  for split in ('train', 'test'):
    write_shard(tmp_path / f'{split}-0.tfrecord', encode=encode)
  for same_size, dtype in ((False, 'float32'), (True, 'uint8')):
    shard_index.index_directory(str(tmp_path), same_size=same_size).save(str(tmp_path))
    contents.load_manifest.cache_clear()
    assert _dtypes('tfrecord', tmp_path, resolution=(4, 6))[1] == dtype


def test_8_bit_batches_hold_what_float_ones_would(tmp_path):
  for split in ('train', 'test'):
    write_shard(tmp_path / f'{split}-0.tfrecord')
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  _, exact, _ = _batches('tfrecord', tmp_path, resolution=(4, 6))
  _, resized, _ = _batches('tfrecord', tmp_path, resolution=(8, 12))
  video = pixels.to_model_range(exact['video'])
  assert video.dtype == np.float32
  np.testing.assert_allclose(video, resized['video'][:, :, ::2, ::2], atol=1e-6)


def _override(*overrides):
  values, settings = flags.FlagValues(), config.Experiment().to_config_dict()
  command = ['program', *(f'--config.dataset.{override}' for override in overrides)]
  config_flags.DEFINE_config_dict('config', settings, flag_values=values, sys_argv=command)
  values(command)
  return values.config.dataset


@pytest.mark.parametrize('text', ['(36, 64)', '[36, 64]', '36,64'])
def test_a_flag_gives_height_and_width(text):
  dataset = typed.build(DatasetConfig, _override(f'resolution={text}'), 'config.dataset')
  assert dataset.resolution == SIZE and dataset.frame_size == SIZE


def test_a_flag_and_a_file_give_a_number_or_a_pair():
  dataset = typed.build(DatasetConfig, _override('resolution=48'), 'config.dataset')
  assert dataset.resolution == 48 and dataset.frame_size == (48, 48)
  wide = config._to_dict(DatasetConfig(resolution=SIZE))
  changed = ml_collections.ConfigDict(wide)
  assert typed.build(DatasetConfig, changed, 'config.dataset').resolution == SIZE
  changed.resolution = 64
  assert typed.build(DatasetConfig, changed, 'config.dataset').frame_size == (64, 64)
  stored = json.loads(json.dumps({'resolution': SIZE}))
  assert typed.build(DatasetConfig, stored, 'config.dataset').resolution == SIZE


def test_an_inspection_shows_wide_frames(tmp_path):
  dataset = DatasetConfig('random', resolution=SIZE, sequence_length=2)
  found = inspection.inspect(dataset, batch_size=2, seconds=0.0)
  assert found.shapes == {'video': (2, 2, *SIZE, 3)} and found.dtypes == {'video': 'uint8'}
