"""What a page's form asks for becomes a request; what cannot be is one line."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from tests import untrained
from tests.test_world import FRAMES, NAMES, ONE_HOT, videogpt
from videogpt_jax import UserError, media
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.server import sampler, uploads
from videogpt_jax.server.sampler import FILE, OF_CLIP, UPLOAD, Form, Sampler
from videogpt_jax.server.scenes import NOTHING, Scene
from videogpt_jax.videogpt import VideoGPT

CLIPS = [Scene(f'held-out clip {i + 1}', x, ONE_HOT[[i] * 8]) for i, x in enumerate(FRAMES)]


def with_classes():
  """Ten classes; clips of 4 frames of 16x16."""
  return untrained.make_model(untrained.experiment())


def with_frames():
  """Conditioned on a first frame, and on no class."""
  return untrained.make_model(untrained.experiment(n_classes=0, n_cond_frames=1, cond_dropout=0.1))


@pytest.fixture(scope='module')
def classes():
  return with_classes()


@pytest.fixture(scope='module')
def of_frames():
  return with_frames()


@pytest.fixture(scope='module')
def acts():
  """Three actions; clips of 8 frames of 8x8; can be played."""
  return videogpt()


def test_each_model_is_asked_for_what_it_has(classes, of_frames, acts):
  made = Sampler(classes)
  assert (made.beginnings, made.actions) == ([NOTHING.name, UPLOAD], [])
  assert (made.most_frames, made.continues, made.guides) == (4 * sampler.MOST_CLIPS, False, False)
  made = Sampler(of_frames)
  assert (made.beginnings, made.continues, made.guides) == ([UPLOAD], True, True)
  made = Sampler(acts, CLIPS)
  assert made.beginnings == [CLIPS[0].name, CLIPS[1].name, NOTHING.name, UPLOAD]
  assert made.actions == [OF_CLIP, *NAMES, FILE]
  assert Sampler(acts).actions == [*NAMES, FILE]
  config = dataclasses.replace(acts.config, vector_dim=3)
  with pytest.raises(UserError, match='a page cannot give'):
    Sampler(dataclasses.replace(acts, config=config))


def test_a_request_is_what_the_form_says(classes, of_frames, acts, tmp_path):
  asked = Sampler(classes).request(Form(n=3, seed=5, top_k=2, temperature=0.5, num_frames=6))
  assert asked.conditions['class_label'].tolist() == [0, 1, 2]
  assert (asked.n, asked.seed) == (3, 5)
  assert asked.settings == SamplingSettings(top_k=2, temperature=0.5, num_frames=6)
  asked = Sampler(classes).request(Form(n=2, class_label='7', num_frames=4))
  assert asked.conditions['class_label'].tolist() == [7, 7]
  begin = {'begin': CLIPS[1].name, 'num_frames': 10}
  asked = Sampler(acts, CLIPS).request(Form(n=2, **begin))
  np.testing.assert_array_equal(asked.continue_from, np.repeat(FRAMES[1:, :4], 2, axis=0))
  np.testing.assert_array_equal(
    asked.conditions['actions'], np.repeat(ONE_HOT[None, [1] * 10], 2, 0)
  )
  asked = Sampler(acts, CLIPS).request(Form(action='RIGHT', num_frames=3))
  np.testing.assert_array_equal(asked.conditions['actions'], ONE_HOT[None, [2] * 8])
  np.save(tmp_path / 'actions.npy', rows := np.arange(60.0, dtype=np.float32).reshape(20, 3))
  file = {'action': FILE, 'actions_file': str(tmp_path / 'actions.npy')}
  asked = Sampler(acts).request(Form(num_frames=12, **file))
  np.testing.assert_array_equal(asked.conditions['actions'], rows[None, :12])


def test_an_upload_is_begun_with_or_continued(of_frames, tmp_path):
  shades = np.linspace(0, 240, 12).astype(np.uint8)
  video = np.broadcast_to(shades[:, None, None, None], (12, 16, 16, 3))
  (tmp_path / 'mine.mp4').write_bytes(media.mp4(video, 8))
  form = Form(begin=UPLOAD, upload=str(tmp_path / 'mine.mp4'), num_frames=4)
  asked = Sampler(of_frames).request(form)
  assert asked.conditions['frames'].shape == (1, 1, 16, 16, 3) and asked.continue_from is None
  assert asked.conditions['frames'].max() < -0.4
  asked = Sampler(of_frames).request(dataclasses.replace(form, from_end=True))
  assert asked.continue_from.shape == (1, 2, 16, 16, 3) and 'frames' not in asked.conditions
  assert asked.continue_from.min() > 0.3


def wrong_forms(folder):
  """Yields (kind of model, fields, what is said)."""
  (folder / 'notes.mp4').write_text('no video at all')
  (folder / 'long.mp4').write_bytes(media.mp4(np.zeros((9, 16, 16, 3), np.uint8), 8))
  np.save(folder / 'wide.npy', np.zeros((8, 4), np.float32))
  np.save(folder / 'short.npy', np.zeros((7, 3), np.float32))
  file = lambda name: {'begin': UPLOAD, 'upload': name and str(folder / name)}
  actions = lambda name: {'action': FILE, 'actions_file': name and str(folder / name)}
  yield 'classes', {'top_k': 17}, r'top_k \(17\) must be in \[1, 16\]'
  yield 'classes', {'seed': -1}, r'seed \(-1\) must be in'
  yield 'classes', {'seed': None}, 'seed is empty; give a number'
  yield 'classes', file('notes.mp4'), 'the upload notes.mp4 cannot be read'
  yield 'classes', file('long.mp4'), 'long.mp4 has 9 frames; it may have 8'
  yield 'of_frames', file(None), 'there is no file to begin with'
  yield 'acts', {'begin': NOTHING.name}, 'no clip to take the actions of'
  yield 'acts', actions(None), 'there is no file of actions'
  yield 'acts', actions('wide.npy'), r'actions wide.npy is float32 \[8, 4\]; this prior takes'
  yield 'acts', actions('short.npy'), r'actions short.npy has 7 rows; videos need 8'


def test_a_wrong_form_is_one_line(request, tmp_path, monkeypatch):
  monkeypatch.setattr(uploads, 'MOST_FRAMES', 8)
  for kind, fields, message in wrong_forms(tmp_path):
    makes = Sampler(request.getfixturevalue(kind), CLIPS if kind == 'acts' else ())
    with pytest.raises(UserError, match=message) as told:
      makes.request(Form(**{'num_frames': makes.clip, **fields}))
    assert '\n' not in str(told.value) and str(tmp_path) not in str(told.value)


class Slow:
  """Stands for `VideoGPT.generate`: clip after clip without an end."""

  def __init__(self):
    self.begun, self.ended = threading.Event(), threading.Event()

  def __call__(self, model, request, callbacks):
    try:
      for i in range(10**6):
        callbacks.drawing(i, 10**6)
        self.begun.set()
        time.sleep(0.02)
    finally:
      self.ended.set()


def slow_drawing(monkeypatch):
  """Lets models draw so: returns the `Slow` that does."""
  slow = Slow()
  monkeypatch.setattr(VideoGPT, 'generate', lambda *arguments: slow(*arguments))
  monkeypatch.setattr(VideoGPT, 'compile', lambda *arguments: None)
  return slow


@pytest.fixture
def slow(monkeypatch):
  return slow_drawing(monkeypatch)


def test_drawing_ends_where_nobody_waits_and_is_for_one_at_a_time(classes, slow):
  makes = Sampler(classes)
  first, second = makes.run(Form(num_frames=4)), makes.run(Form(num_frames=4))
  next(first)
  assert slow.begun.wait(20) and next(first).startswith('sampling')
  assert next(second) == 'waiting for another request to end'
  first.close()
  assert slow.ended.wait(20)
  second.close()
