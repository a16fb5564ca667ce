"""TensorFlow Datasets builders, on two small ones of our own."""

import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from videogpt_jax.input import DatasetConfig, pipeline


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
  assert pipeline.describe(config) == pipeline.DatasetInfo(4, 2, ('jump', 'run'))
  batch = next(pipeline.train_batches(config, batch_size=8, seed=0))
  values = ((batch['video'].mean((2, 3, 4)) + 0.5) * 255).round().astype(int)
  assert (np.diff(values) == 1).all()
  assert (batch['label'] == values[:, 0] // 50 % 2).all()


def test_steps_with_actions(prepared):
  config = _config(prepared, 'fake_pushing', video_key='image_aux1')
  assert pipeline.describe(config) == pipeline.DatasetInfo(5, 3, None, 4)
  batch = next(pipeline.train_batches(config, batch_size=4, seed=0))
  moment = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int) % 20
  np.testing.assert_array_equal(batch['actions'][..., 0], 4 * moment)


def test_one_split_is_shared_out_and_the_last_frame_needs_no_action(prepared):
  config = _config(prepared, 'fake_net')
  assert pipeline.describe(config) == pipeline.DatasetInfo(9, 1, None, 5)
  batch = next(pipeline.train_batches(config, batch_size=8, seed=0))
  moment = ((batch['video'][:, :, 0, 0, 0] + 0.5) * 255).round().astype(int)
  assert set(moment[:, 0]) == {0, 1}
  np.testing.assert_array_equal(batch['actions'][..., 0], np.where(moment < 4, 5 * moment + 1, 0))


def test_images_of_the_steps_of_an_episode(prepared):
  config = _config(prepared, 'fake_episodes')
  assert pipeline.describe(config) == pipeline.DatasetInfo(5, 3, None, 2)
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
  info = pipeline.describe(_config(str(tmp_path / 'elsewhere'), 'my_own_videos'))
  assert info == pipeline.DatasetInfo(4, 2, ('jump', 'run'))


def test_a_builder_that_cannot_be_prepared_is_an_error_of_one_line(tmp_path):
  with pytest.raises(ValueError, match=r'fake_broken cannot be prepared.*no such server'):
    pipeline.describe(_config(str(tmp_path), 'fake_broken'))


def test_what_is_missing_is_named(prepared):
  with pytest.raises(ValueError, match='image_main, image_aux1'):
    pipeline.describe(_config(prepared, 'fake_pushing'))
  with pytest.raises(ValueError, match=r'no_such_thing.*no TensorFlow Datasets builder'):
    pipeline.describe(_config(prepared, 'no_such_thing'))
