"""report.html: what is in it, that it asks for nothing from elsewhere, that a browser shows it."""

import base64
import dataclasses
import html.parser
import re

import numpy as np
import pytest
from etils import epath
from PIL import Image

from tests import browser, tiny_config
from videogpt_jax import media, page
from videogpt_jax.config import from_dict
from videogpt_jax.files import write_json
from videogpt_jax.stages import report
from videogpt_jax.training.history import History
from videogpt_jax.training.logging import record_metrics

LABEL = '<script>alert(1)</script>'


@pytest.fixture
def path(tmp_path):
  """A workdir as a run leaves it, made by hand."""
  path = epath.Path(tmp_path)
  experiment = from_dict(tiny_config.get_config())
  write_json(path / 'config.json', dataclasses.asdict(experiment))
  record_metrics(path, {'fvd': 279.0, 'fvd_low': 244.0, 'fvd_high': 314.0, 'psnr': float('nan')})
  write_json(path / 'evaluation.json', {'protocol': {'name': 'all', 'n_clips': None}, 'seed': 3})
  (path / 'samples').mkdir()
  videos = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3)).astype(np.uint8)
  for i, video in enumerate(videos):
    media.write_mp4(path / f'samples/{i:04d}.mp4', video, 8)
  media.write_gif(path / 'reconstructions.gif', videos[0], 8)
  drawn = [
    {'file': f'samples/{i:04d}.mp4', 'log_likelihood_nats': -12.4, 'label': LABEL} for i in range(3)
  ]
  write_json(path / 'samples.json', {'seed': 7, 'videos': drawn})
  for stage in ('vqvae', 'prior'):
    history = History(path / stage)
    history.devices = '1 x <cpu>'
    for step in range(1, 6):
      history.add(step, {'train/loss': 1 / step, 'test/loss': 2 / step, 'train/odd': 1.0})
    history.save()
  report.write_stage(path, 'sample', 75.0, '1 x <tpu>')
  report.write_codes(path, np.random.default_rng(0).integers(0, 9, (2, 1000)).astype(float))
  return path


class Reader(html.parser.HTMLParser):
  """The elements of a page with their attributes."""

  def __init__(self, text):
    super().__init__()
    self.found = {}
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.found.setdefault(tag, []).append(dict(attrs))


def test_everything_is_on_the_page_and_nothing_is_asked_for(path):
  report.write(path)
  text = (path / report.FILE).read_text()
  found = Reader(text).found
  assert 'script' not in found and 'link' in found
  places = [x.get('src') or x.get('href') for tag in found.values() for x in tag]
  assert all(place.startswith('data:') for place in places if place)
  assert 'url(' not in text and '@import' not in text
  assert len(found['video']) == 3 and all(video['aria-label'] for video in found['video'])
  assert found['video'][1]['title'] == f'seed 7, video 1; log likelihood -12 nats; class {LABEL}'
  assert all(image['alt'] for image in found['img'])
  # Loss of two stages, the odd figure of both, and two codebooks.
  assert len(found['svg']) == 2 + 2 + 2
  assert all(drawing['aria-label'] for drawing in found['svg'])
  assert 'training 0.2 at step 5; held out 0.4 at step 5' in text
  pieces = '244 to 314', 'Protocol all: all clips, seed 3', '5 steps', '1 x &lt;cpu&gt;', 'Seed 7.'
  for piece in (*pieces, '1:15', '1 x &lt;tpu&gt;', 'log likelihood -12 nats'):
    assert piece in text
  assert 'earlier' not in text and 'other weights' not in text
  assert 'vqvae.n_hiddens' in text and '240' in text  # the default that it differs from


def test_no_file_outside_is_shown_whatever_samples_json_names(path, tmp_path_factory):
  secret = tmp_path_factory.mktemp('else') / 'secret.mp4'
  secret.write_bytes(b'secret' * 10)
  named = [{'file': str(secret), 'log_likelihood_nats': 0.0}] * 4
  write_json(path / 'samples.json', {'seed': 0, 'videos': named})
  report.write(path)
  text = (path / report.FILE).read_text()
  assert base64.b64encode(secret.read_bytes()).decode() not in text
  assert len(Reader(text).found['video']) == 3  # those that are the run's


def test_scores_of_other_weights_are_called_so(path):
  scored = {'protocol': {'name': 'all', 'n_clips': 8}, 'seed': 3, 'in_use': ['vqvae: step 3']}
  write_json(path / 'evaluation.json', scored)
  report.write(path)
  assert 'other weights than those in use now (vqvae: step 3)' in (path / report.FILE).read_text()


def test_a_series_keeps_its_colour_without_the_other():
  both = page.chart('psnr', {'training': [(1, 2.0)], 'held out': [(1, 3.0)]})
  alone = page.chart('psnr', {'training': [], 'held out': [(1, 3.0)]})
  for text in (both, alone):
    assert '<span class="second">●</span> held out 3 at step 1' in text
  assert 'class="first"' in both and 'class="first"' not in alone


def test_a_page_is_loaded_anew_until_the_run_has_ended(path):
  report.write(path)
  assert 'http-equiv="refresh"' in (path / report.FILE).read_text()
  report.write(path, ended=True)
  assert 'http-equiv="refresh"' not in (path / report.FILE).read_text()


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
  path = epath.Path(tmp_path)
  write_json(path / 'config.json', dataclasses.asdict(from_dict(tiny_config.get_config())))
  report.write(path)
  headings = re.findall('<h2[^>]*>(.*?)</h2>', (path / report.FILE).read_text())
  assert headings == ['Configuration']


@pytest.mark.parametrize(
  'file', ['metrics.json', 'samples.json', 'vqvae/history.json', 'codebook.json']
)
def test_a_broken_file_is_a_warning_and_the_run_goes_on(path, file, capsys):
  (path / file).write_text('{"')
  report.write(path)
  told = capsys.readouterr().out
  assert told.count('\n') == 1 and 'warning: no report.html' in told and file in told


@pytest.mark.parametrize('file', ['samples.json', 'evaluation.json', 'codebook.json'])
@pytest.mark.parametrize('content', ['{"videos": [{}], "protocol": {"a": 1}}', '[3]', '[[[]]]'])
def test_so_is_one_with_other_things_in_it(path, file, content, capsys):
  (path / file).write_text(content)
  report.write(path)
  told = capsys.readouterr().out
  assert told.count('\n') == 1 and 'broken' in told


@pytest.mark.slow
@browser.needs_browser
@pytest.mark.parametrize('dark', [False, True])
@pytest.mark.parametrize('width', [390, 1200])
def test_a_browser_shows_it(path, width, dark, tmp_path_factory):
  """On a phone and on a desk, light and dark, with the keyboard, without a request."""
  report.write(path, ended=True)
  folder = tmp_path_factory.mktemp('shown')
  address = f'file://{path / report.FILE}'
  with browser.opened(address, folder / 'profile', width=width, dark=dark) as shown:
    phone = {'width': width, 'height': 800, 'deviceScaleFactor': 1, 'mobile': width < 400}
    shown.send('Emulation.setDeviceMetricsOverride', **phone)
    shown.wait("[...document.querySelectorAll('video')].every(v => v.readyState > 1)")
    assert shown.js('document.documentElement.scrollWidth') <= width
    narrow = shown.js(
      "Math.min(...[...document.querySelectorAll('td:nth-child(4)')].filter(e => e.textContent)"
      '.map(e => e.getBoundingClientRect().width))'
    )
    assert narrow > 150  # of what a score means
    brightness = 'getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]'
    assert (shown.js(brightness) < 128) == dark
    reached = set()
    for _ in range(60):
      shown.send('Input.dispatchKeyEvent', type='rawKeyDown', key='Tab', windowsVirtualKeyCode=9)
      reached.add(shown.js('document.activeElement.tagName'))
    assert {'VIDEO', 'SUMMARY'} <= reached
    file = folder / 'page.png'
    shown.screenshot(file)
    assert not shown.faults
    assert all(asked.startswith(('data:', 'file:', 'about:')) for asked in shown.requests)
  pixels = np.asarray(Image.open(file).convert('RGB'))
  assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
