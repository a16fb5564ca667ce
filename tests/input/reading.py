"""Reads tiny clips of a source, for tests of data sets."""

from videogpt_jax import pixels
from videogpt_jax.input import DatasetConfig, pipeline


def config_of(source, path, **changes):
  """Clips of 4 frames of 4x4."""
  return DatasetConfig(source, str(path), resolution=4, sequence_length=4, **changes)


def first(config, split='test', batch_size=2):
  """Returns the first batch of a split."""
  if split == 'test':
    return next(pipeline.test_batches(config, batch_size=batch_size))
  return next(pipeline.train_batches(config, batch_size=batch_size, seed=3))


def brightness(video):
  """Returns a tenth of the brightness of each frame: [B T]."""
  video = pixels.to_model_range(video)
  return ((video.mean(axis=(2, 3, 4)) + 0.5) * 25.5).round().astype(int)
