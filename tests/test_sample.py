"""What the flags of `sample` may say, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import untrained
from videogpt_jax import files, media, readers, sample
from videogpt_jax.models.transformer import PriorConfig

TWO = readers.Take(readers.Cut(), (8, 8), 2)


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """A video file of five frames, 12 x 10 pixels, each frame brighter than the one before."""
  path = tmp_path_factory.mktemp('clips') / 'clip.mp4'
  video = np.repeat(np.arange(20, 220, 40, dtype=np.uint8), 12 * 10 * 3).reshape(5, 12, 10, 3)
  media.write_mp4(path, video, 8)
  return path


def test_first_and_last_frames_are_resized_and_it_is_said(clip, capsys):
  first, last = (
    readers.read_frames('frames', clip, readers.Take(readers.Cut(), (8, 8), n, from_end=n == 3))
    for n in (2, 3)
  )
  assert first.shape == (2, 8, 8, 3) and last.shape == (3, 8, 8, 3)
  assert 'clip.mp4: 10x12 resized and cropped to 8x8' in capsys.readouterr().out
  levels = np.concatenate([first, last]).mean((1, 2, 3))
  np.testing.assert_allclose(levels, np.arange(20, 220, 40) / 255 - 0.5, atol=0.03)


def test_a_clip_that_is_too_short_is_refused(clip):
  with pytest.raises(ValueError, match=r'has 5 frames, but the prior needs 6'):
    readers.video('frames', clip, readers.Take(readers.Cut(), (8, 8), 6, 6), n=1)


def test_what_is_no_video_is_refused(tmp_path):
  (tmp_path / 'clip.mp4').write_text('no video')
  with pytest.raises(ValueError, match=r'continue_from .*cannot be read'):
    readers.read_frames('continue_from', tmp_path / 'clip.mp4', TWO)
  (tmp_path / 'clip.txt').write_text('no video, although FFmpeg would draw it\n' * 99)
  with pytest.raises(ValueError, match=r'continue_from .*cannot be read: no video stream'):
    readers.read_frames('continue_from', tmp_path / 'clip.txt', TWO)
  with pytest.raises(FileNotFoundError, match='continue_from nowhere does not exist'):
    readers.read_frames('continue_from', Path('nowhere'), TWO)


def test_files_are_cut_as_training_cuts_its_clips(clip, tmp_path):
  levels = lambda cut, **take: (
    255
    * (readers.read_frames('f', clip, readers.Take(cut, (8, 8), 9, **take)).mean((1, 2, 3)) + 0.5)
  )
  for cut in (readers.Cut(frame_skip=3), readers.Cut(fps=8 / 3)):
    np.testing.assert_allclose(levels(cut), [20, 140], atol=8)
    np.testing.assert_allclose(levels(cut, from_end=True), [60, 180], atol=8)
    assert cut.frame_rate_of(readers.open_recording('f', clip)) == pytest.approx(8 / 3)
  padded = levels(readers.Cut(fit='pad'))
  assert (padded < levels(readers.Cut())).all()


def test_a_photo_is_a_first_frame_and_a_folder_of_videos_is_not(clip, tmp_path, capsys):
  Image.fromarray(np.full((10, 20, 3), 51, np.uint8)).save(tmp_path / 'photo.jpg')
  take = readers.Take(readers.Cut(frame_skip=2, fps=0.0), (8, 8), 1, 1)
  shown = readers.video('frames', tmp_path / 'photo.jpg', take, n=3)
  assert shown.shape == (3, 1, 8, 8, 3)
  np.testing.assert_allclose(shown, 0.2 - 0.5, atol=0.01)
  np.save(tmp_path / 'frames.npy', np.full((4, 8, 8, 3), 51, np.uint8))
  assert readers.read_frames('frames', tmp_path / 'frames.npy', take).shape == (1, 8, 8, 3)
  for name in 'ab':
    (tmp_path / 'many').mkdir(exist_ok=True)
    (tmp_path / f'many/{name}.mp4').write_bytes(clip.read_bytes())
  with pytest.raises(ValueError, match=r'holds 2 recordings, such as a.mp4, b.mp4; name one'):
    readers.read_frames('frames', tmp_path / 'many', take)


def test_a_class_is_a_name_or_a_number_and_the_others_are_listed():
  assert readers.class_number('dog', ['cat', 'dog']) == 1
  assert readers.class_number('0', ['cat', 'dog']) == 0
  with pytest.raises(ValueError, match="'cow' is not a class; classes are cat, dog"):
    readers.class_number('cow', ['cat', 'dog'])
  with pytest.raises(ValueError, match="'²' is not a class; classes are cat, dog"):
    readers.class_number('²', ['cat', 'dog'])
  with pytest.raises(ValueError, match='not conditioned on class_label; leave class_label out'):
    readers.class_labels('cow', [], 1)


def test_a_file_of_what_the_prior_does_not_take_is_superfluous_and_is_not_opened():
  gpt = untrained.make_model(untrained.experiment(n_classes=0))
  for name in ('class_label', 'frames', 'actions'):
    with pytest.raises(ValueError, match=f'not conditioned on {name}; leave {name} out'):
      gpt.request(1, **{name: 'no_such_file'})


def test_one_class_serves_all_videos_or_each_has_its_own():
  names = ['cat', 'dog']
  for label, wanted in [('dog', [1, 1]), (1, [1, 1]), (['dog', '0'], [1, 0]), ([0, 1], [0, 1])]:
    np.testing.assert_array_equal(readers.class_labels(label, names, 2), wanted)
  with pytest.raises(ValueError, match='has 3 classes for 2 videos; give one class for all, or 2'):
    readers.class_labels(['cat'] * 3, names, 2)


def test_a_file_is_no_folder_to_write_to(tmp_path):
  files.check_folder('--out', tmp_path / 'new' / 'folder')
  assert not list(tmp_path.iterdir())
  (tmp_path / 'file').write_text('')
  for out in ('file', 'file/below'):
    with pytest.raises(ValueError, match=r'^--out .*file is a file; name a folder'):
      files.check_folder('--out', tmp_path / out)


def test_actions_are_an_array_of_the_priors_size(tmp_path):
  np.save(tmp_path / 'good.npy', np.ones((6, 2)))
  assert readers.actions(tmp_path / 'good.npy', 2, 3).shape == (3, 6, 2)
  with pytest.raises(ValueError, match=r'\[6, 2\]; this prior takes numbers \[frames, 3\]'):
    readers.actions(tmp_path / 'good.npy', 3, 1)
  (tmp_path / 'bad.npy').write_text('1 2')
  with pytest.raises(ValueError, match='as a NumPy file'):
    readers.actions(tmp_path / 'bad.npy', 2, 1)


def test_what_the_prior_must_be_told_is_asked_for():
  config = PriorConfig(n_cond_frames=3, action_dim=2)
  with pytest.raises(ValueError, match=r'give --frames=clip.mp4, a video that begins with the 3'):
    sample.check_given(config, frames=False, actions=True)
  with pytest.raises(ValueError, match=r'give --actions=FILE.npy, float \[frames, 2\]'):
    sample.check_given(config, frames=True, actions=False)
  sample.check_given(config, frames=True, actions=True)
  sample.check_given(PriorConfig(), frames=False, actions=False)
