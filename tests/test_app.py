"""The page on which videos are generated, in a real browser; and what it refuses."""

import contextlib
import dataclasses
import io
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import av
import numpy as np
import pytest

from tests import untrained
from tests.browser import needs_browser, opened
from tests.conftest import QUICK
from tests.test_cli import call, error_line, without
from tests.test_world import FRAMES, NAMES, ONE_HOT, videogpt
from tests.web_server import serving
from videogpt_jax import UserError, media
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.server import player, sampler, sampling_page, uploads, web
from videogpt_jax.server.sampler import FILE, OF_CLIP, UPLOAD, Form, Sampler
from videogpt_jax.server.scenes import NOTHING, Scene
from videogpt_jax.videogpt import VideoGPT

ROOT = pathlib.Path(__file__).parents[1]
CLIPS = [Scene(f'held-out clip {i + 1}', x, ONE_HOT[[i] * 8]) for i, x in enumerate(FRAMES)]


@pytest.fixture(scope='module')
def classes():
  """Ten classes; clips of 4 frames of 16x16."""
  return untrained.make_model(untrained.experiment())


@pytest.fixture(scope='module')
def of_frames():
  """Conditioned on a first frame, and on no class."""
  return untrained.make_model(untrained.experiment(n_classes=0, n_cond_frames=1, cond_dropout=0.1))


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
      next(makes.run(Form(**{'num_frames': makes.clip, **fields})))
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


@pytest.fixture
def slow(monkeypatch):
  slow = Slow()
  monkeypatch.setattr(VideoGPT, 'generate', lambda *arguments: slow(*arguments))
  monkeypatch.setattr(VideoGPT, 'compile', lambda *arguments: None)
  return slow


def test_drawing_ends_where_nobody_waits_and_is_for_one_at_a_time(classes, slow):
  makes = Sampler(classes)
  first, second = makes.run(Form(num_frames=4)), makes.run(Form(num_frames=4))
  assert 'sampling' in [next(first), next(first)][1]
  assert next(second) == 'waiting for another request to end'
  first.close()
  assert slow.ended.wait(20)
  second.close()


def page_of(makes):
  """The page's application."""
  app = web.application([], ['127.0.0.1'])
  sampling_page.mount(sampling_page.make_page(makes, 'runs/tiny', plays=False), app)
  return app


@contextlib.contextmanager
def shown(place, tmp_path):
  """Yields a browser that shows the page."""
  with opened(f'http://{place}/', tmp_path / 'browser') as browser:
    browser.wait(f"{STATUS} === '{NOTHING_YET}'")
    browser.wait("!document.body.innerText.includes('Loading')")
    yield browser


NOTHING_YET = 'Nothing generated yet'
STATUS = "document.querySelector('#status p')?.textContent.trim()"


def choose(browser, name, value):
  option = f"[...document.querySelectorAll('[role=option]')].find(o => o.ariaLabel === '{value}')"
  end = time.monotonic() + 60
  while not browser.js(f'!!{option}'):  # a page may not listen yet
    assert time.monotonic() < end, browser.faults
    browser.click(f"document.querySelector('#{name} input')")
    time.sleep(0.3)
  browser.click(option)


def fill(browser, name, value):
  """Types a number into a control."""
  browser.js(
    f"(() => {{ const e = document.querySelector('#{name} input[type=number]'); e.value = {value};"
    " for (const kind of ['input', 'change', 'blur']) e.dispatchEvent(new Event(kind)); })()"
  )


def generate(browser, says):
  """Clicks, waits for what is said, and returns it."""
  browser.js("document.querySelector('#status p').textContent = ''")
  end = time.monotonic() + 120
  while says not in (told := browser.js(STATUS) or ''):
    assert time.monotonic() < end, (told, browser.faults)
    if told in ('', NOTHING_YET):  # a page may not listen yet
      browser.click("document.querySelector('#generate')")
    time.sleep(0.3)
  return told


def downloads(browser):
  """Returns the files that the page offers."""
  links = "[...document.querySelectorAll('#files a')].map(a => a.href)"
  return [urllib.request.urlopen(url).read() for url in browser.wait(links)]


def n_frames(content):
  with av.open(io.BytesIO(content)) as video:
    return sum(1 for _ in video.decode(video=0))


def own_faults(browser):
  """The console's, without a warning of Gradio's own after each upload."""
  return [fault for fault in browser.faults if 'Method not implemented' not in fault]


@needs_browser
def test_a_class_is_chosen_and_its_videos_play_and_are_downloaded(classes, tmp_path):
  with (
    serving(page_of(Sampler(classes))) as place,
    shown(place, tmp_path) as browser,
  ):
    assert browser.js("!!document.querySelector('#action')") is False
    choose(browser, 'class_label', '7')
    fill(browser, 'n', 2)
    fill(browser, 'num_frames', 6)
    assert generate(browser, 'videos of').startswith('2 videos of 6 frames of 16x16, in ')
    browser.wait("document.querySelector('#videos video')?.currentTime > 0.1")
    video = "document.querySelector('#videos video')"
    assert browser.js(f'[{video}.loop, {video}.paused, {video}.duration]') == [True, False, 0.75]
    first = downloads(browser)
    assert [n_frames(content) for content in first] == [6, 6]
    assert n_frames(urllib.request.urlopen(browser.js(f'{video}.currentSrc')).read()) == 6
    fill(browser, 'seed', 3)
    generate(browser, 'videos of')
    assert downloads(browser) != first
    fill(browser, 'seed', 0)
    generate(browser, 'videos of')
    assert downloads(browser) == first
    browser.screenshot(tmp_path / 'desktop.png')
    width = {'width': 360, 'height': 740, 'deviceScaleFactor': 1, 'mobile': True}
    browser.send('Emulation.setDeviceMetricsOverride', **width)
    assert browser.js('document.documentElement.scrollWidth') <= 360
    browser.screenshot(tmp_path / 'phone.png')
    assert own_faults(browser) == []
    outside = [url for url in browser.requests if not url.startswith((f'http://{place}', 'data:'))]
    assert len(browser.requests) > 20 and outside == []


@needs_browser
def test_a_wrong_upload_is_one_line_and_nothing_is_lost(of_frames, tmp_path):
  (tmp_path / 'notes.mp4').write_text('no video at all')
  (tmp_path / 'mine.mp4').write_bytes(media.mp4(np.zeros((5, 20, 30, 3), np.uint8), 8))
  with (
    serving(page_of(Sampler(of_frames))) as place,
    shown(place, tmp_path) as browser,
  ):
    assert browser.js("!!document.querySelector('#class_label')") is False
    generate(browser, 'there is no file to begin with')
    browser.upload('#upload input[type=file]', tmp_path / 'mine.mp4')
    browser.wait("document.querySelector('#upload').textContent.includes('mine')")
    generate(browser, '4 videos of 4 frames')
    made = downloads(browser)
    browser.click("document.querySelector('#upload button[aria-label=Clear]')")
    browser.wait("!!document.querySelector('#upload input[type=file]')")
    browser.upload('#upload input[type=file]', tmp_path / 'notes.mp4')
    browser.wait("document.querySelector('#upload').textContent.includes('notes')")
    assert '/' not in generate(browser, 'the upload notes.mp4 cannot be read').replace('/O', '')
    assert downloads(browser) == made
    assert own_faults(browser) == []


@needs_browser
def test_a_browser_that_goes_away_ends_its_drawing(classes, slow, tmp_path):
  with serving(page_of(Sampler(classes))) as place:
    with shown(place, tmp_path) as browser:
      generate(browser, 'sampling')
      browser.click("document.querySelector('#stop')")
      browser.wait(f"{STATUS} === 'Stopped'")
      assert slow.ended.wait(20)
      slow.begun.clear(), slow.ended.clear()
      generate(browser, 'sampling')
      assert slow.begun.is_set() and not slow.ended.is_set()
    assert slow.ended.wait(30)


def test_other_names_are_refused(classes):
  with serving(page_of(Sampler(classes))) as place:
    other = urllib.request.Request(f'http://{place}/config', headers={'Host': 'elsewhere.example'})
    with pytest.raises(urllib.error.HTTPError, match='400'):
      urllib.request.urlopen(other)


@needs_browser
def test_a_model_that_can_be_played_is_played_beside_the_page(acts, tmp_path):
  played = player.Player(acts, [*CLIPS, NOTHING], SamplingSettings(strategy='speculative'))
  app = web.application(player.mounted('/play', played), ['127.0.0.1'])
  sampling_page.mount(sampling_page.make_page(Sampler(acts, CLIPS), 'runs/doom', plays=True), app)
  with (
    serving(app) as place,
    shown(place, tmp_path) as browser,
  ):
    choose(browser, 'begin', 'held-out clip 2')
    generate(browser, '4 videos of 8 frames')
    browser.send('Page.navigate', url=f'http://{place}/play')
    browser.wait("location.pathname === '/play/' && typeof count === 'number' && count > 9")
    assert browser.faults == []


def test_without_gradio_the_extra_is_named_and_without_a_model_what_to_give(tmp_path):
  told = error_line(
    call('-m', 'videogpt_jax.app', '--model=x', '--port=0', **without(tmp_path, 'gradio'))
  )
  assert told.endswith("needs gradio: pip install '.[app]'")
  told = error_line(call('-m', 'videogpt_jax.app'))
  assert told == 'error: --model is missing; for example --model=runs/demo'


@needs_browser
@pytest.mark.slow
def test_the_command_serves_a_run_and_leaves_nothing_behind(tmp_path):
  run = untrained.make_workdir(tmp_path / 'run', untrained.experiment())
  (tmp_path / 'temporary').mkdir()
  alone = {**os.environ, 'XLA_FLAGS': QUICK, 'TMPDIR': str(tmp_path / 'temporary')}
  command = [sys.executable, '-m', 'videogpt_jax.app', f'--model={run}', '--port=0']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=alone) as process:
    try:
      url = next(line.split()[2] for line in process.stdout if line.startswith('generate at'))
      with shown(url.removeprefix('http://'), tmp_path) as browser:
        generate(browser, '4 videos of 4 frames')
        assert [n_frames(content) for content in downloads(browser)] == [4] * 4
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert list((tmp_path / 'temporary').iterdir()) == []
    finally:
      process.kill()
