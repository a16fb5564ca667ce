"""Models at addresses hf://: the real client, real sockets, and a stand-in for the hub."""

import importlib.util
import json
import os
import pathlib
import sys

import pytest

import videogpt_jax
from tests import untrained
from tests.hub_server import serve
from tests.test_cli import call, error_line
from videogpt_jax import hub, model_folder
from videogpt_jax.errors import UserError

LIBRARY = importlib.util.find_spec('huggingface_hub')

needs_library = pytest.mark.skipif(
  LIBRARY is None, reason="huggingface_hub is not installed: pip install '.[hub]'"
)

ADDRESS = 'hf://someone/ball'

LOAD = 'import sys, videogpt_jax; print(videogpt_jax.loading.load_model(sys.argv[1]).digest)'

TWICE = """
import sys
from videogpt_jax import hub
print(sorted(file.name for file in hub.pull(sys.argv[1]).iterdir()))
"""


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  folder = tmp_path_factory.mktemp('model')
  model_folder.write(folder, untrained.make_model(untrained.experiment()))
  return folder


@pytest.fixture
def server():
  with serve() as running:
    yield running


def contents(folder):
  return {file.name: file.read_bytes() for file in folder.iterdir()}


def asking(server, cache, *command, **environment):
  """Calls a program that takes `server` for the hub, with a cache of its own."""
  libraries = pathlib.Path(LIBRARY.origin).parents[1]
  return call(
    *command,
    HF_ENDPOINT=server if isinstance(server, str) else server.url,
    HF_HOME=str(cache),
    HF_TOKEN='hf_standin',
    HF_HUB_DISABLE_TELEMETRY='1',
    HF_HUB_DISABLE_PROGRESS_BARS='1',
    PYTHONPATH=f'{os.getcwd()}:{libraries}',
    **environment,
  )


@needs_library
def test_what_is_pushed_is_pulled_bit_for_bit(server, exported, tmp_path):
  flags = [f'--model={exported}', f'--push={ADDRESS}', f'--out={tmp_path / "out"}']
  done = asking(server, tmp_path / 'a', '-m', 'videogpt_jax.export', *flags)
  assert done.returncode == 0, done.stderr
  assert f'pushed to {server.url}/someone/ball/commit/' in done.stdout
  assert server.private == {'someone/ball'}
  of_creation, pushed = server.commits['someone/ball'].values()
  assert of_creation == {} and pushed == contents(tmp_path / 'out')
  done = asking(server, tmp_path / 'b', '-c', LOAD, ADDRESS)
  assert done.stdout.strip() == videogpt_jax.load_videogpt(exported).digest, done.stderr


@needs_library
def test_only_files_of_a_model_are_downloaded_and_only_once(server, exported, tmp_path):
  stray = {'virus.py': b'import os', 'pytorch_model.bin': b'pickle'}
  server.add('someone/ball', contents(exported) | stray)
  for _ in range(2):
    done = asking(server, tmp_path / 'cache', '-c', TWICE, ADDRESS)
    assert done.stdout.strip() == str(sorted(contents(exported))), done.stderr
  got = [line for line in server.asked if line.startswith('GET /someone')]
  assert len(got) == len(set(got)) == len(contents(exported))
  done = asking('http://127.0.0.1:9', tmp_path / 'cache', '-c', TWICE, ADDRESS)
  assert done.stdout.strip() == str(sorted(contents(exported))), done.stderr


@needs_library
def test_a_revision_is_a_branch_or_a_commit(server, exported, tmp_path):
  server.add('someone/ball', {'README.md': b'nothing yet'})
  first = server.add('someone/ball', contents(exported), 'trained')
  for revision in ('trained', first):
    done = asking(server, tmp_path / 'cache', '-c', LOAD, f'{ADDRESS}@{revision}')
    assert done.stdout.strip() == videogpt_jax.load_videogpt(exported).digest, done.stderr


@needs_library
@pytest.mark.parametrize(
  ('address', 'message'),
  [
    ('hf://someone/nobody', 'hf://someone/nobody: the hub has no such model'),
    (f'{ADDRESS}@v9', 'the model has no such revision'),
    ('hf://someone/empty', 'has no config.json, so it is no model of videogpt_jax'),
    ('hf://someone/llama', 'is not the configuration of a videogpt_jax model'),
    ('hf://someone/half', 'has the config.json of a model and no model.safetensors'),
    ('hf://ball', 'hf://ball is no address on the hub; write hf://OWNER/NAME'),
  ],
)
def test_what_is_no_model_on_the_hub_is_one_line(server, exported, tmp_path, address, message):
  config = {'config.json': (exported / 'config.json').read_bytes()}
  server.add('someone/ball', contents(exported))
  server.add('someone/empty', {'README.md': b''})
  server.add('someone/llama', {'config.json': b'{"model_type": "llama"}', 'model.safetensors': b''})
  server.add('someone/half', config)
  flags = [f'--model={address}', f'--out={tmp_path / "out"}']
  done = asking(server, tmp_path / 'cache', '-m', 'videogpt_jax.sample', *flags)
  assert message in error_line(done)
  assert not [
    line for line in server.asked if line.endswith('llama/resolve/main/model.safetensors')
  ]


@needs_library
@pytest.mark.parametrize(
  'environment',
  [{'HF_HUB_OFFLINE': '1'}, pytest.param({}, marks=pytest.mark.slow)],  # it tries for half a minute
)
def test_a_hub_that_is_not_there_is_one_line(tmp_path, environment):
  flags = [f'--model={ADDRESS}', f'--out={tmp_path / "out"}']
  command = ['-m', 'videogpt_jax.sample', *flags]
  done = asking('http://127.0.0.1:9', tmp_path, *command, **environment)
  assert f'{ADDRESS} is not in the cache, and the hub cannot be reached' in error_line(done)


def test_without_the_library_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(UserError, match=r"hf:// needs huggingface_hub: pip install '\.\[hub\]'"):
    videogpt_jax.load_videogpt(ADDRESS)


@pytest.mark.parametrize('address', ['hf://a', 'hf://a/b/c', 'hf://a/b@', 'hf://../b c', 'hf://'])
def test_an_address_has_an_owner_and_a_name(address):
  with pytest.raises(UserError, match='write hf://OWNER/NAME'):
    hub.parts(address)
  assert hub.parts('hf://a/b-1.x@refs/pr/3') == ('a/b-1.x', 'refs/pr/3')
  assert json.dumps(hub.parts('hf://a/b')) == '["a/b", null]'
