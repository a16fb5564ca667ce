"""Frames out of video files."""

import dataclasses
import functools
import pathlib
import pickle
import re

import av
import numpy as np
import pytest

from tests.input import alone
from tests.input.shared_inputs import INPUTS, needs_inputs
from tests.input.viewing import as_ffmpeg_shows
from tests.input.writing import write_frames, write_video
from videogpt_jax.framing import Framing
from videogpt_jax.input import recording
from videogpt_jax.input.helper_process import HelperProcess
from videogpt_jax.input.recording import BrokenRecordingError, pick, places
from videogpt_jax.input.video_scan import scan

CLIPS = pathlib.Path(__file__).parents[2] / '../shared/clips'
needs_clips = pytest.mark.skipif(not CLIPS.exists(), reason=f'{CLIPS} is not here')


def _read(recording, indices):
  return np.stack(list(recording.frames(np.asarray(indices), None)))


def _brightness(frames):
  return (frames.mean(axis=(1, 2, 3)) / 10).round().astype(int).tolist()


@pytest.mark.parametrize('suffix', ['.mp4', '.avi', '.mkv', '.mov'])
def test_frames_come_by_their_place_in_display_order(tmp_path, suffix):
  path = write_video(tmp_path / f'a{suffix}')
  recording = scan(path)
  assert len(recording) == 8
  frames = _read(recording, [2, 3, 3, 6])
  assert frames.shape == (4, 36, 48, 3) and frames.dtype == np.uint8
  assert _brightness(frames) == [2, 3, 3, 6]
  assert _brightness(_read(recording, [0, 2, 2, 7])) == [0, 2, 2, 7]


def test_a_frame_rate_takes_what_is_on_display(tmp_path):
  path = write_video(tmp_path / 'a.mkv', stamps=[0, 1, 2, 6, 7, 8, 9, 10])  # tenths of a second
  recording = scan(path)
  assert len(recording.keys)
  assert pick(recording, 0.0, 5, fps=5.0).tolist() == [0, 2, 2, 3, 5]
  assert pick(recording, 0.0, 3, frame_skip=3).tolist() == [0, 3, 6]
  assert places(recording, 5, fps=5.0) == 3 and places(recording, 6, fps=5.0) == 1
  assert places(recording, 7, fps=5.0) == 0
  assert pick(recording, 0.99, 5, fps=5.0).tolist() == [2, 2, 3, 5, 7]


@pytest.mark.parametrize(
  ('content', 'reason'),
  [(b'', 'empty file'), (b'no video\n' * 99, 'decoding fails after 0 frames .Invalid data')],
)
def test_a_file_that_is_no_video_is_broken(tmp_path, content, reason):
  path = tmp_path / 'a.mp4'
  path.write_bytes(content)
  with pytest.raises(BrokenRecordingError, match=reason):
    scan(path)


def test_a_file_that_changed_since_it_was_scanned_is_reported(tmp_path):
  recording = scan(write_video(tmp_path / 'a.mp4'))
  write_video(tmp_path / 'a.mp4', n_frames=4)
  with pytest.raises(BrokenRecordingError, match='has changed'):
    _read(recording, [5, 6])


@needs_clips
@pytest.mark.parametrize('name', ['carphone.mp4', 'flipping_a_pancake.mkv', 'cockatoo.mp4'])
def test_seeking_gives_the_frames_that_decoding_from_the_start_gives(name):
  path = CLIPS / name
  recording = scan(path)
  n = len(recording)
  indices = np.array([n * 2 // 3, n * 2 // 3 + 4])
  np.testing.assert_array_equal(
    _read(recording, indices),
    _read(dataclasses.replace(recording, keys=recording.keys[:1]), indices),
  )


@needs_clips
def test_a_turned_video_comes_out_upright():
  path = CLIPS / 'rotated_90.mov'
  frames = _read(scan(path), np.arange(3))
  assert frames.shape == (3, 568, 320, 3)
  with av.open(str(path)) as container:
    lying = next(container.decode(video=0)).to_ndarray(format='rgb24')
  np.testing.assert_array_equal(frames[0], np.rot90(lying, -1))  # seen to be upright


@needs_clips
def test_time_stamps_out_of_order_come_in_display_order():
  recording = scan(CLIPS / 'unordered_pts.mov')
  np.testing.assert_allclose(recording.times, np.arange(4) / 32)


@needs_clips
def test_a_file_that_breaks_off_is_broken():
  with pytest.raises(BrokenRecordingError, match='after 28 frames'):
    scan(CLIPS / 'corrupted.mp4')


COUNTS = {
  'av1.mp4': 24,
  'avi_title_latin1.avi': 24,
  'gif_delays_20ms_then_500ms.gif': 20,
  'gif_transparent.gif': 20,
  'h263.3gp': 24,
  'h264.ts': 24,
  'h264_3_bytes_flipped.mp4': 24,
  'hevc_hdr_pq.mp4': 24,
  'mkv_cover_picture_first.mkv': 24,
  'mkv_size_changes.mkv': 48,
  'mp4_mirrored.mp4': 24,
  'mp4_pixels_twice_as_wide.mp4': 24,
  'wmv2.wmv': 24,
}


@needs_inputs
@pytest.mark.parametrize('name', COUNTS)
def test_packets_tell_what_decoding_tells(name):
  recording = scan(INPUTS / name)
  assert len(recording) == COUNTS[name]
  with av.open(str(INPUTS / name), metadata_errors='replace') as container:
    stream = container.streams.video[1 if 'cover' in name else 0]
    stamps = [frame.pts for frame in container.decode(stream)]
  assert recording.stamps.tolist() == stamps
  some = np.array([3, 7, 7, len(recording) - 1])
  skipping = list(recording.frames(some, Framing((9, 9))))
  everything = list(recording.frames(np.arange(len(recording)), Framing((9, 9))))
  np.testing.assert_array_equal(skipping, [everything[i] for i in some])


@needs_inputs
def test_a_frame_rate_goes_by_the_time_that_frames_are_shown():
  recording = scan(INPUTS / 'gif_delays_20ms_then_500ms.gif')
  picked = pick(recording, 0.0, 8, fps=2.0)
  np.testing.assert_allclose(recording.times[picked][1:], 0.5 * np.arange(1, 8), atol=0.5)
  assert picked[1] > 9 and (np.diff(picked[1:]) <= 1).all()


CODECS = {
  'libx264': ('mp4', 'mkv', 'mov', 'ts', 'flv', 'avi'),
  'libx265': ('mp4', 'mkv'),
  'mpeg4': ('avi', 'mp4', 'mkv'),
  'mpeg2video': ('ts', 'mpg', 'mkv'),
  'mpeg1video': ('mpg',),
  'libvpx': ('webm',),
  'libvpx-vp9': ('webm',),
  'libsvtav1': ('mp4',),
  'mjpeg': ('avi', 'mov'),
  'wmv2': ('wmv',),
  'flv': ('flv',),
  'ffv1': ('mkv',),
  'prores_ks': ('mov',),
  'huffyuv': ('avi',),
}
FORMS = {'mjpeg': 'yuvj420p', 'prores_ks': 'yuv422p10le', 'huffyuv': 'yuv422p'}
QUICK = {
  'libx265': {'preset': 'ultrafast', 'x265-params': 'log-level=none:bframes=2'},
  'libx264': {'preset': 'veryfast', 'g': '9', 'bf': '2'},
  'mpeg4': {'bf': '2', 'g': '9', 'b': '4000000'},
  'mpeg2video': {'bf': '2', 'g': '9', 'b': '4000000'},
  'libsvtav1': {'preset': '12', 'svtav1-params': 'logo=0'},
  'libvpx': {'deadline': 'realtime', 'cpu-used': '8'},
  'libvpx-vp9': {'deadline': 'realtime', 'cpu-used': '8'},
}


@pytest.mark.parametrize(
  ('codec', 'suffix'),
  [(codec, suffix) for codec, suffixes in CODECS.items() for suffix in suffixes],
)
def test_every_codec_and_container_gives_each_frame_its_place(tmp_path, codec, suffix):
  images = [np.full((64, 80, 3), 10 * i + 5, np.uint8) for i in range(24)]
  path = write_frames(
    tmp_path / f'a.{suffix}',
    images,
    codec=codec,
    form=FORMS.get(codec, 'yuv420p'),
    options=QUICK.get(codec),
    rate=25,
  )
  recording = scan(path)
  assert len(recording) == 24
  assert np.diff(recording.times) == pytest.approx(1 / 25, abs=2e-3)
  decoded = list(as_ffmpeg_shows(path))
  assert (np.diff([image.mean() for image in decoded]) > 0).all()
  for some in ([0, 1, 2], [11, 13, 20], [23]):
    np.testing.assert_array_equal(_read(recording, some), np.stack([decoded[i] for i in some]))


def _peak(task) -> int:
  """Returns the most memory that a process of its own needs for a task, in kB."""
  process = HelperProcess()
  try:
    assert process.do(pickle.dumps(task), patience=60)[0] == 'done'
    status = pathlib.Path(f'/proc/{process.number}/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+)', status)[1])
  finally:
    process.end()


@pytest.mark.skipif(not pathlib.Path('/proc/self/status').exists(), reason='Linux says it')
def test_reading_a_clip_keeps_no_frames_beside_those_of_the_decoder(tmp_path):
  images = [np.full((2160, 3840, 3), 10 * i, np.uint8) for i in range(20)]
  path = str(write_frames(tmp_path / 'a.mp4', images, options={'bf': '2', 'refs': '2'}))
  task = functools.partial(recording.read, scan(path), np.arange(3, 19), Framing((64, 64)))
  frame = 2160 * 3840 * 1.5 / 1024
  assert _peak(task) - _peak(functools.partial(alone.decode, path)) < 0.7 * frame
