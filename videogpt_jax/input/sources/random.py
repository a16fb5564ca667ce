"""Clips of noise, for benchmarks of the pipeline without any reading."""

import numpy as np
import tensorflow as tf

from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns `n_train_clips` or `n_test_clips` clips of uniform noise, at the final size."""
  shape = (config.sequence_length, *config.frame_size, 3)

  def read(index, start):
    del start
    seed = tf.stack([config.data_seed, 2 * index + (split != 'train')])
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32)
    return {'video': tf.cast(tf.bitwise.right_shift(bits, np.uint32(24)), tf.uint8)}

  return Clips(config.n_train_clips if split == 'train' else config.n_test_clips, read)
