"""Weights that are too large to store, generated from their names (numpy only)."""

import zlib

import numpy as np


def parameter(name: str, shape: tuple[int, ...], salt: str = '') -> np.ndarray:
  """Returns the float32 array of `shape` that the golden outputs were computed with.

  `name` is the parameter's name in the reference's state dict.
  """
  x = np.random.default_rng(zlib.crc32((salt + name).encode())).standard_normal(
    shape, dtype=np.float32
  )
  last = name.split('.')[-1]
  if last == 'running_var':
    return 0.5 + np.abs(x)
  if last == 'running_mean':
    return 0.1 * x
  if last == 'weight' and x.ndim == 1:
    return 1 + 0.1 * x
  if x.ndim == 1:
    return 0.1 * x
  return x / np.sqrt(max(int(np.prod(shape[1:])), 1)).astype(np.float32)
