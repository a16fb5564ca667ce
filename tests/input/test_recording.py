"""Recordings and what is cut from them."""

import numpy as np
import pytest
import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.framing import FITS, Framing, fitted_size, reframe
from videogpt_jax.input.clips import resize_and_crop


@pytest.mark.parametrize('fit', FITS)
@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize(
  ('source', 'size'),
  [((37, 53), (16, 16)), ((53, 37), (16, 24)), ((9, 14), (30, 21)), ((20, 35), (20, 20))],
)
def test_frame_by_frame_equals_all_at_once(fit, antialias, source, size):
  video = np.random.default_rng(0).integers(0, 256, (3, *source, 3), np.uint8)
  expected = resize_and_crop(tf.constant(video), size, antialias, fit)
  framed = [reframe(frame, Framing(size, fit, antialias)) for frame in video]
  assert framed[0].dtype == np.float32
  np.testing.assert_allclose(framed, expected, atol=2e-3)


def test_padding_shows_the_whole_frame_on_black_and_stretching_has_no_margin():
  white = np.full((10, 40, 3), 255, np.uint8)
  padded = reframe(white, Framing((20, 20), 'pad'))
  lit = padded[..., 0] > 0
  assert lit.any(1).sum() == 5 and lit.any(0).all() and lit.any(1)[7:12].all()
  assert (reframe(white, Framing((20, 20), 'stretch')) == 255).all()
  assert fitted_size(1, 1000, (8, 8), 'pad') == (1, 8)


def test_a_frame_of_the_wanted_size_is_left_as_it_is():
  frame = np.zeros((6, 4, 3), np.uint8)
  assert reframe(frame, Framing((6, 4), 'pad')) is frame


def test_an_unknown_fit_is_refused():
  with pytest.raises(UserError, match='crop, pad, stretch'):
    Framing((4, 4), 'cover')
