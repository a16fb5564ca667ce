"""TensorFlow Datasets builders, on two small ones of our own."""

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


@pytest.fixture
def prepared(tmp_path):
  for builder in (FakeActions, FakePushing):
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


def test_what_is_missing_is_named(prepared):
  with pytest.raises(ValueError, match='image_main, image_aux1'):
    pipeline.describe(_config(prepared, 'fake_pushing'))
  with pytest.raises(ValueError, match=r'no_such_thing.*no TensorFlow Datasets builder'):
    pipeline.describe(_config(prepared, 'no_such_thing'))
