"""Records variables.index and its data file: a checkpoint as TensorFlow (2.21) writes it.

Run where TensorFlow is installed: python tests/evaluation/goldens/record_variables.py
"""

import pathlib

import numpy as np
import tensorflow as tf


def variables() -> dict[str, np.ndarray]:
  """Enough names to fill more than one block of the index, of every type that is read."""
  rng = np.random.default_rng(0)
  values = {
    f'RGB/inception_i3d/Mixed_{i}/Branch_{i % 4}/Conv3d_0a_1x1/conv_3d/w': rng.standard_normal(
      (i % 3 + 1, 1, 2), dtype=np.float32
    )
    for i in range(150)
  }
  values['double'] = rng.standard_normal(3)
  values['half'] = np.arange(4, dtype=np.float16)
  values['int32'] = np.array([[-3, 2**30]], np.int32)
  values['step'] = np.int64(2**40)
  return values


def main():
  values = variables() | {'text': np.array(b'left out')}
  tf.raw_ops.SaveV2(
    prefix=str(pathlib.Path(__file__).with_name('variables')),
    tensor_names=list(values),
    shape_and_slices=[''] * len(values),
    tensors=[tf.constant(value) for value in values.values()],
  )


if __name__ == '__main__':
  main()
