import pathlib
import shutil

import numpy as np
import pytest

from videogpt_jax.evaluation import tensor_bundle

_GOLDENS = pathlib.Path(__file__).parent / 'goldens'


def _expected():
  rng = np.random.default_rng(0)
  values = {
    f'RGB/inception_i3d/Mixed_{i}/Branch_{i % 4}/Conv3d_0a_1x1/conv_3d/w': rng.standard_normal(
      (i % 3 + 1, 1, 2), dtype=np.float32
    )
    for i in range(150)
  }
  return values | {
    'double': rng.standard_normal(3),
    'half': np.arange(4, dtype=np.float16),
    'int32': np.array([[-3, 2**30]], np.int32),
    'step': np.int64(2**40),
  }


def test_what_tensorflow_wrote_is_read_without_it():
  read, expected = tensor_bundle.read_variables(_GOLDENS / 'variables.index'), _expected()
  assert set(read) == set(expected)  # the one string is left out
  for name, value in expected.items():
    assert read[name].dtype == value.dtype
    np.testing.assert_array_equal(read[name], value)


def test_damaged_files_are_refused_in_one_line(tmp_path):
  for file in _GOLDENS.glob('variables.*'):
    shutil.copy(file, tmp_path)
  index = tmp_path / 'variables.index'
  data = tmp_path / 'variables.data-00000-of-00001'
  whole = index.read_bytes()

  data.write_bytes(data.read_bytes()[:-50])
  with pytest.raises(ValueError, match='give an intact file'):
    tensor_bundle.read_variables(index)
  data.unlink()
  with pytest.raises(FileNotFoundError, match='data file 0 of the checkpoint is missing'):
    tensor_bundle.read_variables(index)
  index.write_bytes(whole[:-9])
  with pytest.raises(ValueError, match='truncated or is not'):
    tensor_bundle.read_variables(index)
  index.write_bytes(b'\xff' * (len(whole) - 48) + whole[-48:])
  with pytest.raises(ValueError, match=r'cannot read|compressed|intact'):
    tensor_bundle.read_variables(index)
