"""The page on which videos are generated, in a real browser; and what it refuses."""

import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import av
import numpy as np
import pytest

from tests import untrained
from tests.browser import needs_browser, opened
from tests.conftest import QUICK
from tests.test_cli import call, error_line, without
from tests.test_sampler import CLIPS, slow_drawing, with_classes, with_frames
from tests.test_world import videogpt
from tests.web_server import serving
from videogpt_jax import media
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.server import player, sampling_page, web
from videogpt_jax.server.sampler import Sampler
from videogpt_jax.server.scenes import NOTHING

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def classes():
  return with_classes()


@pytest.fixture
def slow(monkeypatch):
  return slow_drawing(monkeypatch)


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
def test_a_wrong_upload_is_one_line_and_nothing_is_lost(tmp_path):
  (tmp_path / 'notes.mp4').write_text('no video at all')
  (tmp_path / 'mine.mp4').write_bytes(media.mp4(np.zeros((5, 20, 30, 3), np.uint8), 8))
  with (
    serving(page_of(Sampler(with_frames()))) as place,
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
def test_a_model_that_can_be_played_is_played_beside_the_page(tmp_path):
  acts = videogpt()
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
  assert told == 'error: --model is missing; for example --model=doom'


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
