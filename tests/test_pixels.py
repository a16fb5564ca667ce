"""Pixel conversions: one rounding and one range, for NumPy and JAX."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogpt_jax.pixels import to_model_range, to_uint8

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 8, 32, 1).repeat(3, axis=-1)


def test_every_level_survives_the_model_range():
  floats = to_model_range(LEVELS)
  assert floats.dtype == np.float32 and floats.min() == -0.5 and floats.max() == 0.5
  np.testing.assert_array_equal(to_uint8(floats), LEVELS)
  assert to_model_range(floats) is floats and to_uint8(LEVELS) is LEVELS


def test_jax_arrays_and_tracers_convert_as_numpy_arrays_do():
  expected = to_model_range(LEVELS)
  for function in (to_model_range, jax.jit(to_model_range)):
    actual = function(jnp.asarray(LEVELS))
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, atol=1e-7)
  np.testing.assert_array_equal(to_uint8(jnp.asarray(expected)), LEVELS)


def test_floats_round_to_the_nearest_level_of_their_span():
  video = np.float32([0, 0.4, 0.6, 254.4, 255]).reshape(5, 1, 1, 1) / 255
  expected = [0, 0, 1, 254, 255]
  np.testing.assert_array_equal(to_uint8(video, (0, 1)).ravel(), expected)
  np.testing.assert_array_equal(to_uint8(2 * video - 1, (-1, 1)).ravel(), expected)


def test_values_outside_the_span_are_refused_or_clipped():
  video = np.float32([-0.6, 0, 0.7]).reshape(3, 1, 1, 1)
  with pytest.raises(ValueError, match=r'clip a spans -0\.6 to 0\.7, outside \[-0\.5, 0\.5\]'):
    to_uint8(video, name='clip a')
  np.testing.assert_array_equal(to_uint8(video, clip=True).ravel(), [0, 128, 255])
  to_uint8(np.float32([-0.5004, 0.5004]).reshape(2, 1, 1, 1))  # rounding of a decoder


@pytest.mark.parametrize('clip', [False, True])
@pytest.mark.parametrize(('value', 'kind'), [(np.nan, 'NaN'), (np.inf, 'infinity')])
def test_values_that_are_not_finite_are_named(value, kind, clip):
  video = np.zeros((2, 3, 4, 5, 3), np.float32)
  video[1, 2, 3, 4, 0] = value
  with pytest.raises(ValueError, match=rf'video holds {kind} \(first in frame 2, row 3, column 4'):
    to_uint8(video, clip=clip)


def test_other_dtypes_are_refused():
  with pytest.raises(ValueError, match='video has dtype int64; it must be uint8 or float'):
    to_uint8(np.zeros((2, 3, 4, 3), np.int64))


def test_it_needs_nothing_but_numpy():
  source = "import sys, types; sys.modules['jax'] = None\n"
  source += "sys.modules['videogpt_jax'] = package = types.ModuleType('videogpt_jax')\n"
  source += "package.__path__ = ['videogpt_jax']\nimport videogpt_jax.pixels"
  done = subprocess.run([sys.executable, '-c', source], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
