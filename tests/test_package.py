"""The wheel, installed into empty environments and used from another folder."""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import videogpt_jax
from videogpt_jax import command, shipped

PIP = (sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check')
ROOT = Path(videogpt_jax.__file__).parents[1]


def run(*arguments, cwd=None):
  inherited = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'XLA_FLAGS')}
  return subprocess.run(
    [str(x) for x in arguments], cwd=cwd, env=inherited, capture_output=True, text=True, timeout=600
  )


def succeed(*arguments, cwd=None):
  done = run(*arguments, cwd=cwd)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """Built from a copy, since setuptools leaves files beside the sources."""
  folder = tmp_path_factory.mktemp('wheel')
  pretrained = ['pretrained'] if (ROOT / 'pretrained').is_dir() else []
  files = ['pyproject.toml', 'setup.py', 'README.md']
  for name in ('videogpt_jax', 'configs', 'data', *pretrained, *files):
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, folder / name)
  succeed(*PIP, 'wheel', '--no-deps', f'--wheel-dir={folder / "dist"}', folder)
  [file] = (folder / 'dist').iterdir()
  return file


def environment(folder, wheel, *options):
  venv.create(folder, with_pip=False)
  succeed(*PIP, f'--python={folder / "bin" / "python"}', 'install', *options, wheel)
  return folder / 'bin'


@pytest.fixture(scope='module')
def whole(wheel, tmp_path_factory):
  """All of the tests' libraries, and of the project only the wheel."""
  folder = tmp_path_factory.mktemp('whole')
  programs = environment(folder, wheel, '--no-deps')
  [site] = folder.glob('lib/python*/site-packages')
  (site / 'libraries.pth').write_text(sysconfig.get_path('purelib'))
  return programs


@pytest.fixture(scope='module')
def plain(wheel, tmp_path_factory):
  """The plain package with what it depends on, in the lock's versions."""
  return environment(tmp_path_factory.mktemp('plain'), wheel, f'-c{ROOT / "requirements.lock"}')


@pytest.fixture(scope='module')
def workdir(whole, tmp_path_factory):
  """A run on the wheel's digits, with its configuration by name, from a folder of its own."""
  folder = tmp_path_factory.mktemp('elsewhere')
  small = ['--config.dataset.resolution=16', '--config.dataset.digit_size=8']
  small += ['--config.dataset.sequence_length=4', '--config.dataset.n_test_clips=16']
  small += ['--config.vqvae.n_hiddens=8', '--config.prior.hidden_dim=24']
  small += [f'--config.{stage}_training.steps=2' for stage in ('vqvae', 'prior')]
  told = succeed(
    whole / 'videogpt', 'train', '--config=demo', '--stages=vqvae,prior', *small, cwd=folder
  )
  assert 'prior' in told
  return folder / 'runs' / 'demo'


@pytest.mark.slow
def test_the_wheel_holds_configurations_digits_and_types_and_nothing_beside_the_package(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  assert {name.split('/')[0] for name in names if '.dist-info' not in name} == {'videogpt_jax'}
  models = [f'pretrained/{name}/model.safetensors' for name in shipped.model_names()]
  files = ['configs/bair.py', 'configs/scale/prior_1b.py', 'data/digits/digits.npz']
  for file in (*files, 'data/cards/bair.md', *models):
    assert f'videogpt_jax/shipped/{file}' in names
  assert 'videogpt_jax/py.typed' in names
  assert f'-{videogpt_jax.__version__}-' in wheel.name


@pytest.mark.slow
def test_commands_run_from_the_wheel(whole, tmp_path):
  for name in ('train', 'sample', 'prepare'):
    told = succeed(whole / 'videogpt', name, '--help', cwd=tmp_path)
    assert '--' in told and str(ROOT) not in told
  assert run(whole / 'videogpt', 'smaple', cwd=tmp_path).returncode == 1
  version = succeed(whole / 'videogpt', '--version', cwd=tmp_path)
  assert version == f'videogpt-jax {videogpt_jax.__version__}\n'


@pytest.mark.slow
def test_the_plain_package_samples_what_the_whole_one_trained_without_tensorflow(
  plain, workdir, tmp_path
):
  program = f"""
import sys, videogpt_jax
gpt = videogpt_jax.load_videogpt({str(workdir)!r})
print(gpt.sample(2, class_label=3).shape, videogpt_jax.__file__)
for name in ('tensorflow', 'clu', 'tensorboard'):
  try:
    __import__(name)
  except ModuleNotFoundError:
    continue
  raise SystemExit(name + ' is there')
"""
  told = succeed(plain / 'python', '-c', program, cwd=tmp_path)
  assert '(2, 4, 16, 16, 3)' in told and str(plain.parent) in told
  succeed(
    plain / 'videogpt', 'sample', f'--model={workdir}', '--num=1', '--out=videos', cwd=tmp_path
  )
  assert (tmp_path / 'videos' / 'samples.mp4').exists()
  refused = run(plain / 'videogpt', 'train', '--config=demo', cwd=tmp_path)
  assert refused.returncode == 1 and "pip install 'videogpt-jax[train]'" in refused.stderr
  assert 'Traceback' not in refused.stderr


def test_the_command_alone_says_what_there_is(monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', ['videogpt'])
  command.main()
  told = capsys.readouterr().out
  for name, (module, _) in command.COMMANDS.items():
    assert f'\n  {name}' in told and (ROOT / 'videogpt_jax' / f'{module}.py').exists()
  for name in ('bair', 'scale/prior_1b', 'tokenizers'):
    assert f' {name},' in told or told.rstrip().endswith(name)
  assert ' paper,' not in told and 'shared' not in told  # which run nothing


def test_a_clone_runs_the_command_as_a_module(monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', ['videogpt_jax', 'version'])
  runpy.run_module('videogpt_jax', run_name='__main__')
  assert capsys.readouterr().out == f'videogpt-jax {videogpt_jax.__version__}\n'


def test_an_unknown_command_is_one_line(monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['videogpt', 'smaple'])
  with pytest.raises(SystemExit, match="unknown command 'smaple'"):
    command.main()


@pytest.mark.parametrize('name', shipped.config_names())
def test_a_configuration_is_found_by_its_name_from_anywhere(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  expected = ROOT / 'configs' / f'{name}.py'
  assert shipped.config_file(f'{name}:a,b') == f'{expected}:a,b'
  assert shipped.config_file(f'configs/{name}.py') == str(expected)
  assert shipped.config_file('mine') == 'mine'
  own = tmp_path / 'configs' / f'{name}.py'
  own.parent.mkdir(parents=True)
  own.touch()
  assert shipped.config_file(f'configs/{name}.py') == f'configs/{name}.py'
