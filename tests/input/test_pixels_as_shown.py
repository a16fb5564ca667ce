"""Pixels equal what FFmpeg's own filters show a viewer; `viewing.py` names the filters."""

import itertools
import pathlib
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.input.viewing import as_ffmpeg_shows
from tests.input.writing import write_frames
from videogpt_jax.framing import Framing, reframe
from videogpt_jax.input.recording import BrokenRecordingError, read
from videogpt_jax.input.video_scan import scan

SHARED = pathlib.Path(__file__).parents[2] / '../shared'
LEVELS = 2.0
N = 24  # frames to compare

VIDEOS = {'.avi', '.gif', '.mp4', '.mkv', '.mov', '.wmv', '.ts', '.3gp'}
FILES = sorted(
  path
  for folder in ('inputs', 'clips')
  for path in (SHARED / folder).glob('*')
  if path.suffix in VIDEOS
)


def _picture(height=48, width=64):
  """An image without any symmetry, with smooth colours and edges."""
  y, x = np.mgrid[:height, :width]
  image = np.stack([255 * y // height, 255 * x // width, 128 + 0 * x], -1).astype(np.uint8)
  image[4 : height // 3, 6 : width // 2] = (230, 40, 60)
  return image


def _compare(path, stream=0, **changes):
  """Asserts that frames are as FFmpeg shows them, and returns them."""
  recording = scan(path, partly=True)
  frames = list(recording.frames(np.arange(min(len(recording), N)), None))
  shown = list(itertools.islice(as_ffmpeg_shows(path, stream, **changes), len(frames)))
  for ours, theirs in zip(frames, shown, strict=True):
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(float) - theirs).mean() <= LEVELS
  return frames


@pytest.mark.skipif(not FILES, reason=f'{SHARED} is not here')
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_real_files_look_as_ffmpeg_shows_them(path):
  if 'unknown_codec' in path.name:
    with pytest.raises(BrokenRecordingError, match='no decoder knows its codec'):
      scan(path)
    return
  _compare(path, stream=1 if 'cover_picture_first' in path.name else 0)


@pytest.mark.parametrize('degrees', [0, 90, 180, 270])
@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('form', ['yuv420p', 'yuv420p10le'])
@pytest.mark.parametrize('aspect', [1, 2])
def test_every_orientation_is_upright(tmp_path, degrees, mirrored, form, aspect):
  def prepare(stream):
    stream.set_display_rotation(degrees, hflip=mirrored)
    stream.codec_context.sample_aspect_ratio = Fraction(aspect)

  path = write_frames(tmp_path / 'a.mp4', [_picture()] * 2, form=form, prepare=prepare)
  (_, frame) = _compare(path)
  width = 64 * aspect
  assert frame.shape == ((48, width, 3) if degrees % 180 == 0 else (width, 48, 3))
  small = read(scan(path), np.array([1]), Framing((6, 7)))[0]
  if aspect == 1 and form == 'yuv420p':
    np.testing.assert_allclose(small, reframe(frame, Framing((6, 7))), atol=1e-3)


@pytest.mark.parametrize('name', ['bt709', 'smpte170m', 'bt2020nc'])
@pytest.mark.parametrize('levels', ['tv', 'pc'])
def test_matrix_and_range_are_as_tagged(tmp_path, name, levels):
  options = {'colorspace': name, 'color_range': levels}
  path = write_frames(tmp_path / 'a.mp4', [_picture()] * 2, options=options)
  with av.open(str(path)) as container:
    assert container.streams.video[0].codec_context.color_range == {'tv': 1, 'pc': 2}[levels]
  _compare(path)


FORMATS = {
  'ffv1': ('yuv420p10le', 'yuv422p12le', 'yuv444p16le', 'gray', 'gray16le', 'yuva420p', 'gbrp10le'),
  'libx264': ('yuv420p10le', 'yuv422p10le', 'yuv444p'),
  'png': ('rgba', 'gray', 'rgb48be'),
  'rawvideo': ('yuyv422', 'uyvy422', 'yuv411p', 'nv12', 'bgr24'),
}


@pytest.mark.parametrize(
  ('codec', 'form'), [(codec, form) for codec, forms in FORMATS.items() for form in forms]
)
def test_depths_greys_palettes_and_packed_pixels(tmp_path, codec, form):
  suffix = {'rawvideo': 'nut', 'png': 'mov'}.get(codec, 'mkv')
  path = write_frames(tmp_path / f'a.{suffix}', [_picture()] * 2, codec=codec, form=form)
  (_, frame) = _compare(path)
  small = read(scan(path), np.array([1]), Framing((4, 5)))[0]
  # Deeper colours are repeated where few pixels are fetched, and interpolated in whole frames.
  assert np.abs(small - reframe(frame, Framing((4, 5)))).mean() < LEVELS + 1


@pytest.mark.parametrize('background', ['white', '#204060'])
def test_transparent_pixels_show_the_background(tmp_path, background):
  image = np.dstack([_picture(), np.full((48, 64), 255, np.uint8)])
  image[:, 32:, 3], image[:, 48:, 3] = 0, 100
  path = write_frames(tmp_path / 'a.mov', [image] * 2, codec='png', form='rgba', source='rgba')
  video = read(scan(path), np.arange(2), Framing((48, 64), background=background))
  shown = list(as_ffmpeg_shows(path, background=background))
  assert np.abs(video.astype(float) - np.stack(shown)).mean() < LEVELS
  (ground,) = {tuple(pixel) for pixel in video[0, :, 34:46].reshape(-1, 3)}
  assert ground == ((255, 255, 255) if background == 'white' else (32, 64, 96))


def test_interlaced_frames_are_deinterlaced_and_said(tmp_path):
  moving = [np.roll(_picture(), 2 * i, 1) for i in range(12)]
  woven = [
    np.stack([moving[i][::2], moving[i + 1][1::2]], 1).reshape(48, 64, 3) for i in range(0, 12, 2)
  ]
  options = {'flags': '+ildct+ilme', 'b': '4000000'}
  path = write_frames(tmp_path / 'a.ts', woven, codec='mpeg2video', options=options)
  recording = scan(path)
  assert recording.interlaced and 'interlaced' in recording.remarks[0]
  frames = _compare(path)
  (again,) = recording.frames(np.array([4]), None)
  np.testing.assert_array_equal(again, frames[4])
  comb = lambda image: np.abs(np.diff(image[:, 40:].astype(float), 2, axis=0)).mean()
  assert comb(frames[3]) - comb(moving[6]) < 0.5 * (comb(woven[3]) - comb(moving[6]))


def test_high_dynamic_range_is_said(tmp_path):
  options = {'color_trc': 'smpte2084', 'colorspace': 'bt2020nc', 'color_primaries': 'bt2020'}
  path = write_frames(tmp_path / 'a.mp4', [_picture()] * 2, options=options, form='yuv420p10le')
  assert any('HDR' in remark and 'tone mapping' in remark for remark in scan(path).remarks)
  _compare(path)
