"""TensorFlow Datasets builders, on two small ones of our own."""

import concurrent.futures
import dataclasses
import logging
import shutil
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from videogpt_jax.input import DatasetConfig, contents, pipeline
from videogpt_jax.input.sources import tfds as source


class _Builder(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version('1.0.0')

  def _split_generators(self, download_manager):
    return {'train': self._generate_examples(5), 'test': self._generate_examples(3)}

  def _info(self):
    return tfds.core.DatasetInfo(builder=self, features=self.features)


class FakeActions(_Builder):
  """Videos of any length with a class, as UCF-101 is stored."""

  features = tfds.features.FeaturesDict(
    {
      'video': tfds.features.Video(shape=(None, 6, 8, 3)),
      'label': tfds.features.ClassLabel(names=['jump', 'run']),
    }
  )

  def _generate_examples(self, n):
    for r in range(n):
      frames = np.arange(3 + r, dtype=np.uint8)[:, None, None, None] + 50 * r
      yield r, {'video': np.broadcast_to(frames, (3 + r, 6, 8, 3)), 'label': r % 2}


class FakePushing(_Builder):
  """Steps of two images and an action, as BAIR is stored."""

  features = tfds.features.Sequence(
    {
      'image_main': tfds.features.Image(shape=(6, 8, 3)),
      'image_aux1': tfds.features.Image(shape=(6, 8, 3)),
      'action': tfds.features.Tensor(shape=(4,), dtype=np.float32),
    }
  )

  def _generate_examples(self, n):
    for r in range(n):
      frames = np.arange(6, dtype=np.uint8)[:, None, None, None] + 20 * r
      main = np.broadcast_to(frames, (6, 6, 8, 3))
      yield (
        r,
        {
          'image_main': main,
          'image_aux1': main + 100,
          'action': np.arange(24, dtype=np.float32).reshape(6, 4),
        },
      )


class FakeNet(_Builder):
  """One split, no action for the last frame, and features within features, as RoboNet's."""

  features = tfds.features.FeaturesDict(
    {
      'video': tfds.features.Video(shape=(None, 6, 8, 3)),
      'actions': tfds.features.Tensor(shape=(None, 5), dtype=np.float32),
      'metadata': {'name': tfds.features.Text(), 'size': np.int32},
    }
  )

  def _split_generators(self, download_manager):
    return {'test': self._generate_examples(10)}

  def _generate_examples(self, n):
    for r in range(n):
      video = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None, None], (5, 6, 8, 3))
      actions = np.arange(1, 21, dtype=np.float32).reshape(4, 5)
      yield r, {'video': video, 'actions': actions, 'metadata': {'name': 'a', 'size': 1}}


class FakeBroken(_Builder):
  """Cannot be fetched."""

  features = FakeActions.features

  def _generate_examples(self, n):
    raise RuntimeError('no such server')


class FakeEpisodes(_Builder):
  """Episodes of steps with an observation, as robots' data are stored now."""

  features = tfds.features.FeaturesDict(
    {
      'steps': tfds.features.Dataset(
        {
          'observation': {'image': tfds.features.Image(shape=(6, 8, 3)), 'state': np.float32},
          'action': tfds.features.Tensor(shape=(2,), dtype=np.float32),
        }
      )
    }
  )

  def _generate_examples(self, n):
    for r in range(n):
      steps = [
        {
          'observation': {'image': np.full((6, 8, 3), 20 * r + t, np.uint8), 'state': 0.0},
          'action': np.array([t, r], np.float32),
        }
        for t in range(6)
      ]
      yield r, {'steps': steps}


@pytest.fixture
def prepared(tmp_path):
  for builder in (FakeActions, FakePushing, FakeNet, FakeEpisodes):
    builder(data_dir=tmp_path / 'data').download_and_prepare(file_format='tfrecord')
  return str(tmp_path / 'data')


def _config(path, name, **changes):
  return DatasetConfig('tfds', path, name, resolution=6, sequence_length=4, **changes)


def test_videos_with_classes(prepared):
  config = _config(prepared, 'fake_actions')
  assert contents.describe(config) == contents.DatasetInfo(4, 2, ('jump', 'run'))
  batch = next(pipeline.train_batches(config, batch_size=8, seed=0))
  values = ((batch['video'].mean((2, 3, 4)) + 0.5) * 255).round().astype(int)
  assert (np.diff(values) == 1).all()
  assert (batch['label'] == values[:, 0] // 50 % 2).all()


def test_steps_with_actions(prepared):
  config = _config(prepared, 'fake_pushing', video_key='image_aux1')
  assert contents.describe(config) == contents.DatasetInfo(5, 3, None, 4)
  batch = next(pipeline.train_batches(config, batch_size=4, seed=0))
  moment = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int) % 20
  np.testing.assert_array_equal(batch['actions'][..., 0], 4 * moment)


def test_actions_of_frames_that_are_left_out_are_added_up(prepared):
  config = _config(prepared, 'fake_pushing', video_key='image_main')
  config = dataclasses.replace(config, sequence_length=3, frame_skip=2)
  batch = next(pipeline.train_batches(config, batch_size=8, seed=0))
  moment = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int) % 20
  assert set(moment[:, 0]) == {0, 1} and (np.diff(moment) == 2).all()
  added = np.where(moment < 5, 4 * moment + 4 * (moment + 1), 4 * moment)  # 5 is the last frame
  np.testing.assert_array_equal(batch['actions'][..., 0], added)


def test_one_split_is_shared_out_and_the_last_frame_needs_no_action(prepared):
  config = _config(prepared, 'fake_net')
  assert contents.describe(config) == contents.DatasetInfo(9, 1, None, 5)
  batch = next(pipeline.train_batches(config, batch_size=8, seed=0))
  moment = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int)
  assert set(moment[:, 0]) == {0, 1}
  np.testing.assert_array_equal(batch['actions'][..., 0], np.where(moment < 4, 5 * moment + 1, 0))


def test_images_of_the_steps_of_an_episode(prepared):
  config = _config(prepared, 'fake_episodes')
  assert contents.describe(config) == contents.DatasetInfo(5, 3, None, 2)
  batch = next(pipeline.train_batches(config, batch_size=6, seed=0))
  values = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int)
  np.testing.assert_array_equal(batch['actions'], np.stack([values % 20, values // 20], -1))


def test_a_builder_is_found_by_its_files_where_its_code_is_not(prepared, tmp_path):
  mine = tmp_path / 'elsewhere/my_own_videos/1.0.0'
  shutil.copytree(f'{prepared}/fake_actions/1.0.0', mine)
  for file in list(mine.iterdir()):
    if file.suffix == '.json':
      file.write_text(file.read_text().replace('fake_actions', 'my_own_videos'))
    else:
      file.rename(file.with_name(file.name.replace('fake_actions', 'my_own_videos')))
  info = contents.describe(_config(str(tmp_path / 'elsewhere'), 'my_own_videos'))
  assert info == contents.DatasetInfo(4, 2, ('jump', 'run'))


def test_a_builder_that_cannot_be_prepared_is_an_error_of_one_line(tmp_path):
  with pytest.raises(ValueError, match=r'fake_broken cannot be prepared.*no such server'):
    contents.describe(_config(str(tmp_path), 'fake_broken'))


def test_processes_that_need_the_same_builder_prepare_it_once(tmp_path, monkeypatch, caplog):
  prepared, original = [], FakeActions.download_and_prepare

  def slow(self, **arguments):
    prepared.append(self.name)
    deadline = time.monotonic() + 10
    while caplog.text.count('Waiting for another process') < 2 and time.monotonic() < deadline:
      time.sleep(0.01)  # until both of the others wait
    original(self, **arguments)

  monkeypatch.setattr(FakeActions, 'download_and_prepare', slow)
  open_builder = lambda _: source._open('fake_actions', str(tmp_path / 'data'))  # as a process does
  with concurrent.futures.ThreadPoolExecutor(3) as pool, caplog.at_level(logging.INFO):
    builders = list(pool.map(open_builder, range(3)))
  assert prepared == ['fake_actions']
  assert caplog.text.count('Waiting for another process') == 2
  assert [list(builder.info.splits) for builder in builders] == [['train', 'test']] * 3
  config = _config(str(tmp_path / 'data'), 'fake_actions')
  assert contents.describe(config) == contents.DatasetInfo(4, 2, ('jump', 'run'))


def test_a_bucket_is_locked_in_the_cache(tmp_path):
  local, bucket = (source._lock_file(path) for path in ('/data/a/1.0.0', 'gs://bucket/a/1.0.0'))
  assert str(local) == '/data/a/1.0.0.lock' and bucket.parent == tmp_path / 'cache/videogpt_jax'


def test_frames_of_the_wanted_size_stay_8_bit(prepared):
  sizes = {(6, 8): np.uint8, (6, 6): np.float32}
  for name, keys in {'fake_actions': {}, 'fake_pushing': {'video_key': 'image_main'}}.items():
    for size, dtype in sizes.items():
      for _ in range(2):  # the second time from the cached manifest
        config = dataclasses.replace(_config(prepared, name, **keys), resolution=size)
        (batch,) = pipeline.test_batches(config, batch_size=3)
        assert batch['video'].shape[2:4] == size and batch['video'].dtype == dtype
        source._index.cache_clear()


def test_what_is_missing_is_named(prepared):
  with pytest.raises(ValueError, match='image_main, image_aux1'):
    contents.describe(_config(prepared, 'fake_pushing'))
  with pytest.raises(ValueError, match=r'no_such_thing.*no TensorFlow Datasets builder'):
    contents.describe(_config(prepared, 'no_such_thing'))
