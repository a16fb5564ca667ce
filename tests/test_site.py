"""The site builds strictly, and its reference says what every key means."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytest.importorskip('mkdocs')
pytest.importorskip('material')


@pytest.fixture(scope='module')
def hooks():
  spec = importlib.util.spec_from_file_location('hooks', 'docs/hooks.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_site_builds_without_a_warning(tmp_path):
  build = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', f'--site-dir={tmp_path}']
  quiet = os.environ | {'NO_MKDOCS_2_WARNING': '1'}
  done = subprocess.run(build, capture_output=True, text=True, env=quiet)
  assert done.returncode == 0, done.stderr
  assert '<code>prior.n_layers</code>' in (tmp_path / 'configuration.html').read_text()
  assert 'load_videogpt' in (tmp_path / 'api.html').read_text()


def test_every_key_has_a_meaning_and_every_meaning_a_key(hooks):
  rows = {path: meaning for path, _, _, meaning in hooks.keys(hooks.Experiment)}
  assert len(rows) > 100 and [path for path, meaning in rows.items() if not meaning] == []
  assert rows['prior_training.optimizer.learning_rate'] and rows['sample.temperature']


def test_units_are_those_of_numbers_that_exist(hooks):
  numbers = {
    path.rpartition('.')[2]
    for path, kind, _, _ in hooks.keys(hooks.Experiment)
    if 'int' in kind or 'float' in kind
  }
  named = [name for names in hooks.UNITS.values() for name in names]
  assert set(named) <= numbers and len(named) == len(set(named))
  assert '| `int` | `50` | steps | in steps. |' in hooks.configuration()


def test_every_public_name_is_in_the_reference(hooks):
  page = hooks.api()
  for name in hooks.videogpt_jax.__all__:
    assert f'## `{name}`' in page
  assert '### `VideoGPT.sample`' in page
  assert '## `World` of `videogpt_jax.world`' in page and '### `World.step`' in page
