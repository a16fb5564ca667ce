import pathlib

import numpy as np
import pytest

from videogpt_jax.evaluation import resize

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
