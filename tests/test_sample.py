"""What the flags of `sample` may say, and what is refused."""

import types
from pathlib import Path

import numpy as np
import pytest

from videogpt_jax import media, sample
from videogpt_jax.models.transformer import PriorConfig


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """A video file of five frames, 12 x 10 pixels, each frame brighter than the one before."""
  path = tmp_path_factory.mktemp('clips') / 'clip.mp4'
  video = np.repeat(np.arange(20, 220, 40, dtype=np.uint8), 12 * 10 * 3).reshape(5, 12, 10, 3)
  media.write_mp4(path, video, 8)
  return path


def test_first_and_last_frames_are_resized_and_it_is_said(clip, capsys):
  first, last = (sample.read_frames('--frames', clip, 8, s) for s in (slice(2), slice(-3, None)))
  assert first.shape == (2, 8, 8, 3) and last.shape == (3, 8, 8, 3)
  assert 'clip.mp4: 10x12 resized to 8x8' in capsys.readouterr().out
  levels = np.concatenate([first, last]).mean((1, 2, 3))
  np.testing.assert_allclose(levels, np.arange(20, 220, 40) / 255 - 0.5, atol=0.03)


def test_a_clip_that_is_too_short_is_refused(clip):
  with pytest.raises(ValueError, match=r'has 5 frames, but the prior needs 6'):
    sample._check_length('--frames', str(clip), np.zeros((5, 8, 8, 3)), 6)


def test_what_is_no_video_is_refused(tmp_path):
  (tmp_path / 'clip.mp4').write_text('no video')
  with pytest.raises(ValueError, match=r'--continue .*cannot be read'):
    sample.read_frames('--continue', tmp_path / 'clip.mp4', 8, slice(2))
  (tmp_path / 'clip.txt').write_text('no video, although FFmpeg would draw it\n' * 99)
  with pytest.raises(ValueError, match=r'--continue .*cannot be read: no video stream'):
    sample.read_frames('--continue', tmp_path / 'clip.txt', 8, slice(2))
  with pytest.raises(FileNotFoundError, match='--continue nowhere does not exist'):
    sample.read_frames('--continue', Path('nowhere'), 8, slice(2))


def test_a_class_is_a_name_or_a_number_and_the_others_are_listed():
  assert sample.class_number('dog', ['cat', 'dog']) == 1
  assert sample.class_number('0', ['cat', 'dog']) == 0
  with pytest.raises(ValueError, match="'cow' is not a class; classes are cat, dog"):
    sample.class_number('cow', ['cat', 'dog'])
  with pytest.raises(ValueError, match="'²' is not a class; classes are cat, dog"):
    sample.class_number('²', ['cat', 'dog'])
  with pytest.raises(ValueError, match='has no classes; leave --class_label out'):
    sample.class_number('cow', [])


def test_a_file_is_no_folder_to_write_to(tmp_path):
  sample.check_out(tmp_path / 'new' / 'folder')
  assert not list(tmp_path.iterdir())
  (tmp_path / 'file').write_text('')
  for out in ('file', 'file/below'):
    with pytest.raises(ValueError, match=r'file is a file; name a folder'):
      sample.check_out(tmp_path / out)


def test_actions_are_an_array_of_the_priors_size(tmp_path):
  np.save(tmp_path / 'good.npy', np.ones((6, 2)))
  assert sample.read_actions(tmp_path / 'good.npy', 2).dtype == np.float32
  with pytest.raises(ValueError, match=r'has shape \(6, 2\); this prior wants \[frames, 3\]'):
    sample.read_actions(tmp_path / 'good.npy', 3)
  with pytest.raises(ValueError, match='leave --actions out'):
    sample.read_actions(tmp_path / 'good.npy', 0)
  (tmp_path / 'bad.npy').write_text('1 2')
  with pytest.raises(ValueError, match='is no NumPy array'):
    sample.read_actions(tmp_path / 'bad.npy', 2)


def test_what_the_prior_must_be_told_is_asked_for():
  config = PriorConfig(n_cond_frames=3, action_dim=2)
  with pytest.raises(ValueError, match=r'give --frames=clip.mp4, a video that begins with the 3'):
    sample.check_given(config, frames=False, actions=True)
  with pytest.raises(ValueError, match=r'give --actions=FILE.npy, float \[frames, 2\]'):
    sample.check_given(config, frames=True, actions=False)
  sample.check_given(config, frames=True, actions=True)
  sample.check_given(PriorConfig(), frames=False, actions=False)


def test_half_a_clip_is_needed_to_go_on_from_one():
  spec = types.SimpleNamespace(sequence_length=16, latent_shape=(4, 2, 2))
  model = types.SimpleNamespace(
    vqvae=types.SimpleNamespace(spec=spec), config=types.SimpleNamespace(n_cond_frames=0)
  )
  assert sample.beginning_of_continuation(model) == 8
