import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from videogpt_jax import resize
from videogpt_jax.input import clips

_PREPROCESS = pathlib.Path(__file__).parents[3] / 'shared' / 'goldens' / 'preprocess.npz'


def test_a_ramp_is_interpolated_at_half_pixel_centres():
  ramp = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 3, 2), np.float32)
  resized = np.asarray(resize.resize(ramp, 8, 3))
  np.testing.assert_allclose(
    resized[:, 0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6
  )
  shrunk = np.asarray(resize.resize(ramp, 2, 3))  # no smoothing: the two middle pairs
  np.testing.assert_allclose(shrunk[:, 0, 0], [0.5, 2.5], atol=1e-6)


def test_the_shorter_side_sets_the_scale_and_the_centre_is_kept():
  video = np.zeros((2, 10, 30, 3), np.float32)
  video[:, :, 10:20] = 1
  cropped = np.asarray(resize.resize_and_crop(video, 20))
  assert cropped.shape == (2, 20, 20, 3)
  assert cropped.mean() > 0.95  # the bright third is what is left
  assert resize.resize_and_crop(video.transpose(0, 2, 1, 3), 20).shape == (2, 20, 20, 3)


def test_resizing_equals_the_published_preprocessing():
  if not _PREPROCESS.exists():
    pytest.skip('the shared folder with preprocess.npz is not beside this checkout')
  goldens = np.load(_PREPROCESS)
  names = [key.removeprefix('in/') for key in goldens if key.startswith('in/')]
  assert len(names) == 4
  for name in names:
    expected = goldens[f'out/{name}'].transpose(1, 2, 3, 0)  # C T H W -> T H W C
    clip = goldens[f'in/{name}'] / np.float32(255)
    actual = resize.resize_and_crop(clip, expected.shape[1]) - 0.5
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def _published_size(height, width, resolution):
  """The published code, `preprocess` in data.py."""
  scale = resolution / min(height, width)
  if height < width:
    return resolution, math.ceil(width * scale)
  return math.ceil(height * scale), resolution


def test_sizes_are_those_of_the_published_code():
  assert resize.fitted_size(198, 297, (32, 32)) == (32, 49)  # 48 in exact arithmetic
  rng = np.random.default_rng(0)
  for height, width, resolution in rng.integers(1, 700, (20_000, 3)).tolist():
    expected = _published_size(height, width, resolution)
    assert resize.fitted_size(height, width, (resolution, resolution)) == expected


def test_a_pair_is_covered_and_touched_on_one_side():
  rng = np.random.default_rng(1)
  for height, width, *size in rng.integers(1, 500, (5_000, 4)).tolist():
    rows, columns = resize.fitted_size(height, width, size)
    assert rows >= size[0] and columns >= size[1]
    assert rows == size[0] or columns == size[1]


@pytest.mark.parametrize('known', [True, False], ids=['static', 'dynamic'])
def test_tensorflow_and_jax_give_the_same_sizes_and_pixels(known):
  rng = np.random.default_rng(2)
  sizes = [(198, 297, 32, 32), (7, 7, 29, 29), (40, 40, 40, 40), (30, 50, 30, 20)]
  sizes += rng.integers(5, 90, (20, 4)).tolist()
  for height, width, *size in sizes:
    video = rng.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    shape = video.shape if known else (2, None, None, 3)
    crop = lambda video, size=tuple(size): clips.resize_and_crop(video, size)
    ours = tf.function(crop, input_signature=[tf.TensorSpec(shape, tf.uint8)])(video)
    other = resize.resize_and_crop(video, tuple(size))
    assert ours.shape == other.shape == (2, *size, 3)
    np.testing.assert_allclose(np.float32(ours), other, atol=0.02)  # of 255
