"""Frames out of video files."""

import pathlib

import av
import numpy as np
import pytest

from tests.input.writing import write_video
from videogpt_jax.input import video_file

CLIPS = pathlib.Path(__file__).parents[2] / '../shared/clips'
needs_clips = pytest.mark.skipif(not CLIPS.exists(), reason=f'{CLIPS} is not here')


def _brightness(frames):
  return (frames.mean(axis=(1, 2, 3)) / 10).round().astype(int).tolist()


@pytest.mark.parametrize('suffix', ['.mp4', '.avi', '.mkv', '.mov'])
def test_frames_come_by_their_place_in_display_order(tmp_path, suffix):
  path = write_video(tmp_path / f'a{suffix}')
  recording = video_file.scan(path)
  assert len(recording.stamps) == 8
  frames = video_file.read_frames(path, recording, np.array([2, 3, 3, 6]))
  assert frames.shape == (4, 36, 48, 3) and frames.dtype == np.uint8
  assert _brightness(frames) == [2, 3, 3, 6]
  passed = video_file.iterate_frames(path, iter([0, 2, 2, 7]))
  assert _brightness(np.stack(list(passed))) == [0, 2, 2, 7]


def test_a_frame_rate_takes_what_is_on_display(tmp_path):
  path = write_video(tmp_path / 'a.mkv', stamps=[0, 1, 2, 6, 7, 8, 9, 10])  # tenths of a second
  recording = video_file.scan(path)
  assert recording.seekable
  assert recording.pick(0.0, 5, fps=5.0).tolist() == [0, 2, 2, 3, 5]
  assert recording.pick(0.0, 3, frame_skip=3).tolist() == [0, 3, 6]
  assert recording.places(5, fps=5.0) == 3 and recording.places(6, fps=5.0) == 1
  assert recording.places(7, fps=5.0) == 0
  assert recording.pick(0.99, 5, fps=5.0).tolist() == [2, 2, 3, 5, 7]


@pytest.mark.parametrize(
  ('content', 'reason'),
  [(b'', 'empty file'), (b'no video\n' * 99, 'decoding fails after 0 frames .Invalid data')],
)
def test_a_file_that_is_no_video_is_broken(tmp_path, content, reason):
  path = tmp_path / 'a.mp4'
  path.write_bytes(content)
  with pytest.raises(video_file.BrokenVideoError, match=reason):
    video_file.scan(path)


def test_a_file_that_changed_since_it_was_scanned_is_reported(tmp_path):
  recording = video_file.scan(write_video(tmp_path / 'a.mp4'))
  path = write_video(tmp_path / 'a.mp4', n_frames=4)
  with pytest.raises(video_file.BrokenVideoError, match='has changed'):
    video_file.read_frames(path, recording, np.array([5, 6]))


@needs_clips
@pytest.mark.parametrize('name', ['carphone.mp4', 'flipping_a_pancake.mkv', 'cockatoo.mp4'])
def test_seeking_gives_the_frames_that_decoding_from_the_start_gives(name):
  path = CLIPS / name
  recording = video_file.scan(path)
  n = len(recording.stamps)
  indices = np.array([n * 2 // 3, n * 2 // 3 + 4])
  np.testing.assert_array_equal(
    video_file.read_frames(path, recording, indices),
    np.stack(list(video_file.iterate_frames(path, iter(indices)))),
  )


@needs_clips
def test_a_turned_video_comes_out_upright():
  path = CLIPS / 'rotated_90.mov'
  frames = video_file.read_frames(path, video_file.scan(path), np.arange(3))
  assert frames.shape == (3, 568, 320, 3)
  with av.open(str(path)) as container:
    lying = next(container.decode(video=0)).to_ndarray(format='rgb24')
  np.testing.assert_array_equal(frames[0], np.rot90(lying, -1))  # seen to be upright


@needs_clips
def test_time_stamps_out_of_order_come_in_display_order():
  recording = video_file.scan(CLIPS / 'unordered_pts.mov')
  np.testing.assert_allclose(recording.times, np.arange(4) / 32)


@needs_clips
def test_a_file_that_breaks_off_is_broken():
  with pytest.raises(video_file.BrokenVideoError, match='after 28 frames'):
    video_file.scan(CLIPS / 'corrupted.mp4')
