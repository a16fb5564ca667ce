"""The page in which a model is played, in a real browser; and what it refuses."""

import contextlib
import dataclasses
import io
import json
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
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.browser import needs_browser, opened
from tests.conftest import QUICK
from tests.test_world import FRAMES, ONE_HOT, videogpt
from tests.web_server import serving
from videogpt_jax import UserError, media
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.server import address, player, uploads, web
from videogpt_jax.server.scenes import NOTHING, Scene
from videogpt_jax.server.session import Session, to_bytes

ROOT = pathlib.Path(__file__).parents[1]
SETTINGS = SamplingSettings(strategy='speculative')
SCENES = [Scene('a clip', FRAMES[0], ONE_HOT[[0] * 8]), NOTHING]


@pytest.fixture(scope='module')
def model():
  return videogpt()


@contextlib.contextmanager
def served(model, scenes=SCENES, hosts=('127.0.0.1', 'localhost')):
  """Yields (player, address) while the page is served in a thread."""
  played = player.Player(model, scenes, SETTINGS)
  with serving(web.application(player.routes(played), hosts)) as place:
    yield played, place


@pytest.fixture(scope='module')
def page(model):
  with served(model) as found:
    found[0].warm_up()
    yield found


def ask(socket, **question):
  socket.send(json.dumps(question))
  answer = socket.recv(timeout=120)
  return json.loads(answer) if isinstance(answer, str) else np.frombuffer(answer, np.uint8)


@contextlib.contextmanager
def socket_of(page):
  with connect(f'ws://{page[1]}/socket') as socket:
    yield socket, json.loads(socket.recv(timeout=30))


def ended(player):
  """Waits until no session is left."""
  end = time.monotonic() + 20
  while player.sessions and time.monotonic() < end:
    time.sleep(0.05)
  return not player.sessions


def test_frames_are_those_of_the_world(page, model):
  world = model.play(FRAMES[0], 7, actions=ONE_HOT[[0] * 8])
  with socket_of(page) as (socket, hello):
    assert (hello['height'], hello['width'], hello['actions']) == (
      8,
      8,
      ['NOTHING', 'LEFT', 'RIGHT'],
    )
    assert hello['scenes'] == ['a clip', 'nothing'] and hello['game'] == ''
    given = ask(socket, do='begin', scene=0, seed=7)
    np.testing.assert_array_equal(given.reshape(8, 8, 8, 3), to_bytes(world.given[0]))
    for action in ('LEFT', 'RIGHT'):
      shown = ask(socket, do='step', action=action).reshape(2, 8, 8, 3)
      np.testing.assert_array_equal(shown, to_bytes(world.step(action)[0]))
    with urllib.request.urlopen(f'http://{page[1]}/save/{hello["token"]}') as answer:
      saved = answer.read()
    with av.open(io.BytesIO(saved)) as video:
      assert sum(1 for _ in video.decode(video=0)) == 8 + 2 * 2


@pytest.mark.parametrize(
  ('question', 'message'),
  [
    ({'do': 'step', 'action': 'LEFT'}, 'a step needs a beginning'),
    ({'do': 'begin', 'scene': 9}, r'scene \(9\) must be in \[0, 2\)'),
    ({'do': 'begin', 'seed': 'x'}, 'must be whole numbers'),
    ({'do': 'dance'}, 'must be "begin" or "step"'),
    ({}, 'a JSON object with "do"'),
  ],
)
def test_a_wrong_question_is_answered_in_one_line_and_loses_nothing(page, question, message):
  with socket_of(page) as (socket, _):
    answer = ask(socket, **question)
    with pytest.raises(UserError, match=message):
      raise UserError(answer['error'])
    assert ask(socket, do='begin', scene=1, seed=0).size == 0
    assert ask(socket, do='step', action='JUMP')['error'].endswith('NOTHING, LEFT, RIGHT')
    assert ask(socket, do='step', action='LEFT').size == 2 * 8 * 8 * 3


def test_a_browser_that_goes_away_ends_its_session(page):
  with socket_of(page) as (socket, hello):
    ask(socket, do='begin', scene=1, seed=0)
    assert len(page[0].sessions) == 1
    socket.send(json.dumps({'do': 'step', 'action': 'LEFT'}))  # and leaves in the middle of it
  assert ended(page[0])
  with pytest.raises(urllib.error.HTTPError, match='404'):
    urllib.request.urlopen(f'http://{page[1]}/save/{hello["token"]}')


def test_only_so_many_browsers_at_a_time(page, monkeypatch):
  monkeypatch.setattr(player, 'MOST_SESSIONS', 1)
  with socket_of(page), socket_of(page) as (other, told):
    assert told['error'].startswith('1 browsers play already')
    with pytest.raises(ConnectionClosed):
      other.recv(timeout=20)


def test_other_pages_and_other_names_are_refused(page):
  with pytest.raises(InvalidStatus):
    connect(f'ws://{page[1]}/socket', origin='http://elsewhere.example')
  other = urllib.request.Request(f'http://{page[1]}/', headers={'Host': 'elsewhere.example'})
  with pytest.raises(urllib.error.HTTPError, match='400') as refused:
    urllib.request.urlopen(other)
  line = refused.value.read().decode()
  assert line == 'this page is served to 127.0.0.1 alone; --host=ADDRESS serves it elsewhere'
  with pytest.raises(InvalidStatus):
    connect(f'ws://{page[1]}/socket', additional_headers={'Host': 'elsewhere.example'})
  assert ended(page[0])


def upload(page, token, name, content):
  request = urllib.request.Request(f'http://{page[1]}/upload/{token}?name={name}', content)
  try:
    with urllib.request.urlopen(request) as answer:
      return json.load(answer)
  except urllib.error.HTTPError as error:
    return json.load(error)


def test_an_upload_is_a_beginning_and_a_fault_is_one_line(page, monkeypatch):
  video = media.mp4(np.zeros((3, 40, 60, 3), np.uint8), 8)
  with socket_of(page) as (socket, hello):
    answer = upload(page, hello['token'], 'mine.mp4', video)
    assert answer == {'scene': 2, 'name': 'mine.mp4'}
    assert ask(socket, do='begin', scene=2, seed=0).size == 8 * 8 * 8 * 3
    for content, message in [
      (b'no video at all', 'the upload notes.mp4 cannot be read'),
      (b'', 'the upload is empty'),
    ]:
      told = upload(page, hello['token'], 'notes.mp4', content)['error']
      assert told.startswith(message) and '\n' not in told and '/tmp' not in told
    monkeypatch.setattr(uploads, 'MOST_BYTES', 1 << 20)
    told = upload(page, hello['token'], 'long.mp4', bytes((1 << 20) + 1))['error']
    assert told.startswith('an upload may have 1 MB')
    assert ask(socket, do='step', action='LEFT').size == 2 * 8 * 8 * 3


def test_a_session_keeps_the_latest_frames_alone(model, monkeypatch):
  monkeypatch.setattr('videogpt_jax.server.session.MOST_KEPT', 6)
  session = Session(model, SCENES, SETTINGS, '')
  session.begin(1, 0, engine=False)
  shown = [session.step('LEFT')[0] for _ in range(5)]
  np.testing.assert_array_equal(session.video(), np.concatenate(shown[-3:]))


@pytest.fixture(scope='module')
def of_classes():
  """A model without actions, whose classes have names."""
  return dataclasses.replace(videogpt(action_dim=0, n_classes=3), class_names=('a', 'b', 'c'))


def test_a_world_without_actions_shows_the_class_of_its_clip_or_the_one_asked_for(of_classes):
  scenes = [Scene('a clip', FRAMES[0], class_label=2), NOTHING]
  session = Session(of_classes, scenes, SETTINGS, '')
  for scene, wanted, shown in ((0, None, 2), (0, 1, 1), (1, None, 4 % 3)):
    session.begin(scene, 4, False, wanted)
    world = of_classes.play(scenes[scene].frames, 4, class_label=shown, settings=SETTINGS)
    np.testing.assert_array_equal(session.step(None)[0], to_bytes(world.step()[0]))


@needs_browser
def test_a_page_without_actions_goes_on_by_itself_and_changes_its_class(of_classes, tmp_path):
  scenes = [Scene('a clip', FRAMES[0], class_label=2), NOTHING]
  with (
    served(of_classes, scenes) as (played, place),
    opened(f'http://{place}/', tmp_path / 'browser') as browser,
  ):
    browser.wait('count > 12')
    classes = "[...document.getElementById('class').options].map(x => x.text)"
    assert browser.js(classes) == ['by clip or seed', 'a', 'b', 'c']
    assert browser.js("document.querySelectorAll('#buttons button').length") == 0
    browser.js(RECORD)
    shown = []
    for value in ('0', '1'):
      browser.js(f"pictures.model = []; document.getElementById('class').value = '{value}'")
      browser.js("document.getElementById('class').onchange()")
      browser.wait('count > 14 && pictures.model.length >= count')
      shown.append(browser.js('pictures.model.slice(-count)'))
    assert shown[0][:8] == shown[1][:8]  # the clip that both begin with
    assert shown[0][8:14] != shown[1][8:14]
    assert browser.faults == []
  assert ended(played)


def test_an_address_that_is_taken_or_not_ours_is_told_at_once():
  with contextlib.closing(address.listen('127.0.0.1', 0)) as listener:
    listener.listen()
    with pytest.raises(UserError, match=r'cannot serve at 127\.0\.0\.1:.*in use'):
      address.listen('127.0.0.1', listener.getsockname()[1])
  with pytest.raises(UserError, match=r'cannot serve at 192\.0\.2\.1:8000.*choose another --host'):
    address.listen('192.0.2.1', 8000)


RECORD = """(() => { const before = show; window.pictures = {model: [], game: []};
  show = (canvas, rgb) => { pictures[canvas.id].push(rgb.join()); before(canvas, rgb); }; })()"""


@needs_browser
def test_keys_change_the_picture(page, tmp_path):
  """The same seed with either key; then pause, going on, and a phone's width."""
  with opened(f'http://{page[1]}/', tmp_path / 'browser') as browser:
    browser.wait('count > 12')
    assert browser.js("document.querySelectorAll('#buttons button').length") == 2
    browser.js(RECORD)
    shown = {}
    for code, name in (('Digit1', 'left'), ('Digit2', 'right')):
      browser.key(code, True)
      held = "document.querySelector('#buttons [aria-pressed=true]').textContent"
      assert browser.js(held) == name
      browser.js("pictures.model = []; document.getElementById('restart').click()")
      browser.wait('count > 14 && pictures.model.length >= count')
      shown[name] = browser.js('pictures.model.slice(-count)')
      browser.key(code, False)
    assert shown['left'][:8] == shown['right'][:8]  # the clip that both begin with
    assert shown['left'][8:14] != shown['right'][8:14]
    browser.js("document.getElementById('pause').click()")
    at = browser.js('count')
    time.sleep(0.3)
    assert browser.js('count') == at
    browser.js("document.getElementById('pause').click()")
    browser.wait(f'count > {at + 4}')
    assert browser.js("+document.getElementById('fps').textContent") > 0
    width = {'width': 360, 'height': 740, 'deviceScaleFactor': 1, 'mobile': True}
    browser.send('Emulation.setDeviceMetricsOverride', **width)
    assert browser.js('document.documentElement.scrollWidth') <= 360
    browser.screenshot(tmp_path / 'phone.png')
    assert browser.faults == []
  assert ended(page[0])


@needs_browser
@pytest.mark.slow
def test_a_run_is_played_beside_the_real_game(tmp_path):
  """Record, train and play by the commands: the game and the model begin with the same frames."""
  alone = {'cwd': ROOT, 'env': {**os.environ, 'XLA_FLAGS': QUICK}}  # one device
  command = [sys.executable, 'data/prepare.py', '--format=vizdoom', '--n_generated=8']
  command += ['--source=health_gathering_supreme', '--resolution=64', f'--out={tmp_path}/shards']
  subprocess.run([*command, '--policy=explore'], check=True, **alone)
  sizes = {'vqvae.n_hiddens': 16, 'vqvae.n_res_layers': 1, 'vqvae.downsample': '(2, 8, 8)'}
  sizes |= {'prior.hidden_dim': 48, 'prior.n_layers': 1, 'prior.history': 1}
  for stage in ('vqvae', 'prior'):
    sizes |= {f'{stage}_training.steps': 2, f'{stage}_training.batch_size': 2}
  command = [sys.executable, '-m', 'videogpt_jax.main', '--config=configs/doom.py']
  command += [f'--config.{key}={value}' for key, value in sizes.items()]
  command += [f'--config.dataset.path={tmp_path}/shards', f'--workdir={tmp_path}/run']
  subprocess.run([*command, '--stages=vqvae,prior'], check=True, **alone)
  command = [sys.executable, '-m', 'videogpt_jax.play', f'--model={tmp_path}/run', '--port=0']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **alone) as process:
    try:
      url = next(line.split()[2] for line in process.stdout if line.startswith('play at'))
      with opened(url, tmp_path / 'browser') as browser:
        browser.wait('count > 20')
        browser.js(RECORD)
        scenes = "[...document.querySelectorAll('#scene option')].map(o => o.textContent)"
        assert browser.js(scenes) == ['held-out clip 1', 'nothing']
        browser.js("document.getElementById('real').click()")
        browser.key('ArrowUp', True)
        held = "document.querySelector('#buttons [aria-pressed=true]').textContent"
        assert browser.js(held) == 'move forward'
        browser.wait('pictures.game.length > 20')
        game, model = (browser.js(f'pictures.{name}.slice(-20)') for name in ('game', 'model'))
        assert len(set(game)) > 10 and not set(game) & set(model)
        assert len(set(game[-1].split(','))) > 30
        browser.screenshot(tmp_path / 'played.png')
        assert browser.faults == []
    finally:
      process.send_signal(signal.SIGINT)
      assert process.wait(30) == 0
