"""Clips from anything, as batches. TensorFlow is loaded when the first function is asked for."""

from videogpt_jax.input.config import DatasetConfig as DatasetConfig

_PIPELINE = ('DatasetInfo', 'compression', 'describe', 'test_batches', 'train_batches')


def __getattr__(name):
  if name not in _PIPELINE:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from videogpt_jax.input import pipeline

  return getattr(pipeline, name)
