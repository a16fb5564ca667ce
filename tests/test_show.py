"""Videos in a notebook."""

import base64
import io
import re

import av
import numpy as np
import pytest

import videogpt_jax
from videogpt_jax.errors import UserError


def video(n=3):
  """Squares of 16 pixels in colours at random, which compression leaves alone."""
  squares = np.random.default_rng(0).uniform(0, 1, (n, 4, 3, 4, 3))
  return squares.repeat(16, axis=2).repeat(16, axis=3).astype(np.float32)


def test_a_grid_of_videos_plays_in_a_page():
  shown = videogpt_jax.show(video(), fps=5, labels=['a', 'b', '<c>'])
  found = re.fullmatch(
    r'<video autoplay loop muted playsinline controls width="(\d+)" aria-label="(.*?)" '
    r'src="data:video/mp4;base64,(.*)"></video>',
    shown._repr_html_(),
  )
  assert found[2] == '3 videos of 4 frames of 48x64: a, b, &lt;c&gt;'
  with av.open(io.BytesIO(base64.b64decode(found[3]))) as container:
    stream = container.streams.video[0]
    assert stream.average_rate == 5
    frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(stream)]
  assert len(frames) == 4 and frames[0].shape[1] == int(found[1]) == shown.sheet.shape[2]
  assert np.abs(frames[0].astype(int) - shown.sheet[0]).mean() < 10


def test_bytes_and_a_single_video_do_as_well():
  one = np.round(255 * video(1)[0]).astype(np.uint8)
  np.testing.assert_array_equal(videogpt_jax.show(one).sheet, videogpt_jax.show(video(1)).sheet)


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (np.zeros((2, 3)), r'takes videos \[n T H W 3\], and this is \[2, 3\]'),
    (np.zeros((0, 4, 8, 8, 3)), r'and this is \[0, 4, 8, 8, 3\]'),
    (video() - 0.5, r'floats in \[0, 1\], and these are in \[-0\.\d+, 0\.\d+\]; add 0.5'),
    (np.full((1, 1, 8, 8, 3), np.nan), r'these are in \[nan, nan\]'),
  ],
)
def test_what_is_no_video_is_refused(given, message):
  with pytest.raises(UserError, match=message):
    videogpt_jax.show(given)


def test_a_label_for_each_video():
  with pytest.raises(UserError, match='3 videos and 1 labels'):
    videogpt_jax.show(video(), labels=['a'])
