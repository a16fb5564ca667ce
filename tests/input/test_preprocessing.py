"""From a recording to a clip."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from videogpt_jax import pixels
from videogpt_jax.input.clips import decode_images, for_model, resize_and_crop, window

GOLDEN = pathlib.Path(__file__).parents[2] / '../shared/goldens/preprocess.npz'


@pytest.mark.skipif(not GOLDEN.exists(), reason=f'{GOLDEN} is not here')
@pytest.mark.parametrize('case', ['5x37x53to32', '4x120x90to64', '3x64x64to64', '3x20x30to48'])
def test_preprocessing_matches_the_published_implementation(case):
  with np.load(GOLDEN) as golden:
    video, expected = golden[f'in/{case}'], golden[f'out/{case}'].transpose(1, 2, 3, 0)
  size = (int(case.split('to')[1]),) * 2
  clip = for_model(resize_and_crop(tf.constant(video), size))
  np.testing.assert_allclose(pixels.to_model_range(clip.numpy()), expected, atol=1e-5)


def test_antialiasing_keeps_a_fine_pattern_from_beating():
  stripes = np.zeros((1, 60, 80, 3), np.uint8)
  stripes[:, :, ::2] = 255
  plain = resize_and_crop(tf.constant(stripes), (22, 22))
  filtered = resize_and_crop(tf.constant(stripes), (22, 22), antialias=True)
  assert np.std(filtered) < 0.2 * np.std(plain)


def test_grey_becomes_three_channels():
  clip = for_model(tf.fill((2, 3, 3, 1), 255.0))
  assert clip.shape == (2, 3, 3, 3) and (clip.numpy() == 0.5).all()
  clip = for_model(tf.fill((2, 3, 3, 1), tf.constant(255, tf.uint8)))
  assert clip.shape == (2, 3, 3, 3) and (pixels.to_model_range(clip.numpy()) == 0.5).all()


@pytest.mark.parametrize(('length', 'frame_skip'), [(3, 1), (3, 2), (10, 1), (1, 7)])
def test_windows_reach_both_ends_of_a_recording_and_stay_inside(length, frame_skip):
  first = window(tf.constant(0.0), 10, length, frame_skip).numpy()
  last = window(tf.constant(1 - 2**-24), 10, length, frame_skip).numpy()
  assert first[0] == 0 and last[-1] == 9
  assert (np.diff(first) == frame_skip).all() and len(last) == length


@pytest.mark.parametrize('encode', [tf.io.encode_png, tf.io.encode_jpeg])
def test_images_are_decoded(encode):
  images = np.full((3, 8, 16, 3), np.array([40, 90, 200])[:, None, None, None], np.uint8)
  decoded = decode_images(tf.stack([encode(image) for image in images]), 3)
  np.testing.assert_allclose(decoded, images, atol=2)
