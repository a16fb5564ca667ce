"""What all entry points have in common: help, required flags, errors, processes."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import ml_collections
import pytest

from tests.conftest import QUICK
from videogpt_jax.config import Experiment
from videogpt_jax.training import distributed

ENTRY_POINTS = sorted(
  file.stem
  for file in Path('videogpt_jax').glob('*.py')
  if '\n  cli.start(main' in file.read_text() and file.stem != 'cli'
)
WITH_SEVERAL_PROCESSES = {'main'}
READERS_OF_MODELS = ['sample', 'evaluate', 'encode', 'export', 'export_torch', 'import_torch']
TINY = '--config=tests/tiny_config.py'

ENVIRONMENT = {'XLA_FLAGS': QUICK, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': os.getcwd()}

BLOCK = """
import sys
class Missing:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in {blocked}:
      raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
"""


def call(*command, timeout=120, **environment):
  start = time.monotonic()
  done = subprocess.run(
    [sys.executable, *command],
    env=os.environ | ENVIRONMENT | environment,
    capture_output=True,
    text=True,
    timeout=timeout,
  )
  done.seconds = time.monotonic() - start
  return done


def without(tmp_path, *modules):
  """The environment of a Python that lacks some packages, which JAX's cache may look for."""
  (tmp_path / 'sitecustomize.py').write_text(BLOCK.format(blocked=modules))
  return {'PYTHONPATH': f'{tmp_path}:{os.getcwd()}', 'JAX_ENABLE_COMPILATION_CACHE': 'false'}


def program(tmp_path, body):
  """An entry point whose main does what `body` says."""
  file = tmp_path / 'program.py'
  text = 'import os, threading, time, jax\nfrom videogpt_jax import cli, errors\n'
  text += 'from videogpt_jax.training import distributed\n'
  file.write_text(f'{text}def main(argv):\n  {body}\ncli.start(main, processes="many")\n')
  return file


def error_line(done, status=1):
  """The only line of standard error."""
  assert done.returncode == status, done.stderr
  assert 'Traceback' not in done.stderr
  [line] = done.stderr.splitlines()
  assert line.startswith('error: ')
  return line


def test_all_entry_points_are_found():
  assert {'main', 'sample', 'evaluate', 'encode', 'plan', 'export', 'export_torch'} <= set(
    ENTRY_POINTS
  )


@pytest.mark.parametrize('module', ENTRY_POINTS)
def test_help_shows_an_example_and_needs_no_tensorflow(module, tmp_path):
  done = call('-m', f'videogpt_jax.{module}', '--help', **without(tmp_path, 'tensorflow', 'clu'))
  assert done.returncode == 0, done.stderr
  assert re.search(rf'python -m videogpt_jax\.{module} .*--\w+=', done.stdout)
  assert '\nFlags:\n' in done.stdout
  assert done.seconds < 30
  assert ('--config.prior.n_layers=8  (int)' in done.stdout) == ('\n  --config\n' in done.stdout)


def test_help_lists_every_key_of_the_configuration():
  def keys(section, path=''):
    for key in section:
      value = section.get_oneway_ref(key).get()
      is_section = isinstance(value, ml_collections.ConfigDict)
      yield from keys(value, f'{path}{key}.') if is_section else [f'{path}{key}']

  shown = call('-m', 'videogpt_jax.main', '--help').stdout
  listed = re.findall(r'^  --config\.([\w.]+)=', shown, re.MULTILINE)
  assert sorted(listed) == sorted(keys(Experiment().to_config_dict()))


def test_help_shows_the_values_of_the_configuration_that_is_given():
  flags = ('--config=folder', '--config.vqvae_training.steps=7')
  shown = call('-m', 'videogpt_jax.main', *flags, '--help').stdout
  assert 'with the values of this --config:' in shown
  assert '--config.vqvae_training.steps=7  (int)' in shown
  assert '--config.vqvae_training.batch_size=4  (int)' in shown
  shown = call('-m', 'videogpt_jax.main', '--config=no_such_file', '--help').stdout
  assert '--config.vqvae_training.batch_size=32  (int)' in shown


@pytest.mark.parametrize('module', ENTRY_POINTS)
def test_a_missing_flag_is_one_line_with_an_example(module):
  line = error_line(call('-m', f'videogpt_jax.{module}'))
  assert re.search(r'(is|are) missing; for example --\w+=|give --model', line), line


@pytest.mark.slow
@pytest.mark.parametrize('module', ENTRY_POINTS)
def test_several_processes_are_refused_or_joined(module):
  """Incomplete variables: a program that joins the others asks for the rest of them."""
  done = call('-m', f'videogpt_jax.{module}', TINY, JAX_NUM_PROCESSES='2')
  if module in WITH_SEVERAL_PROCESSES:
    assert done.returncode == 1
    assert distributed.ADDRESS in done.stderr and 'one process' not in done.stderr
  elif 'config' in done.stderr:  # it has no such flag
    done = call('-m', f'videogpt_jax.{module}', JAX_NUM_PROCESSES='2')
    assert f'{module} is one process' in error_line(done)
  else:
    assert f'{module} is one process' in error_line(done)


def test_one_process_of_slurm_is_not_refused():
  slurm = dict.fromkeys(distributed.SLURM, '1')
  assert '--out' in error_line(call('-m', 'videogpt_jax.export_torch', **slurm))
  refused = call('-m', 'videogpt_jax.export_torch', **slurm | {'SLURM_NTASKS': '8'})
  assert 'srun --ntasks=1' in error_line(refused)


def test_a_users_error_is_one_line(tmp_path):
  file = program(tmp_path, 'raise errors.UserError("size (3) must be even;\\n use 4")')
  assert error_line(call(file)) == 'error: size (3) must be even; use 4'
  file = program(tmp_path, 'raise errors.UserFileError("no such clip")')
  assert error_line(call(file)) == 'error: no such clip'


@pytest.mark.parametrize('error', ['ValueError', 'FileNotFoundError'])
def test_any_other_error_keeps_its_traceback(tmp_path, error):
  done = call(program(tmp_path, f'raise {error}("deep in a library")'))
  assert done.returncode == 1
  assert 'Traceback' in done.stderr and f'{error}: deep in a library' in done.stderr


def test_a_crash_among_several_processes_tells_and_ends_at_once(tmp_path):
  """Neither a thread nor the other processes are waited for."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  body = (
    f'jax.distributed.initialize("localhost:{port}", 1, 0, cluster_detection_method="deactivate")\n'
    '  threading.Thread(target=time.sleep, args=(300,)).start()\n'
    '  raise {}("of one process")'
  )
  done = call(program(tmp_path, body.format('ValueError')))
  assert done.returncode == 1
  assert 'Traceback' in done.stderr and 'ValueError: of one process' in done.stderr
  done = call(program(tmp_path, body.format('errors.UserError')))
  assert done.returncode == 1
  assert 'error: of one process' in done.stderr and 'Traceback' not in done.stderr


def test_a_preemption_and_an_interruption_have_statuses_of_their_own(tmp_path):
  done = call(program(tmp_path, 'raise distributed.PreemptedError(7)'))
  assert done.returncode == distributed.EXIT_PREEMPTED
  assert 'step 7' in done.stderr
  assert call(program(tmp_path, 'raise KeyboardInterrupt')).returncode == 130


def test_training_without_tensorflow_names_the_extra_to_install(tmp_path):
  lacking = without(tmp_path, 'tensorflow')
  done = call('-m', 'videogpt_jax.main', TINY, f'--workdir={tmp_path / "run"}', **lacking)
  assert "needs tensorflow: pip install '.[train]'" in error_line(done)
  assert not (tmp_path / 'run').exists()


def test_a_missing_package_that_is_not_optional_keeps_its_traceback(tmp_path):
  done = call(program(tmp_path, 'import nothing_of_the_kind'))
  assert done.returncode == 1
  assert 'Traceback' in done.stderr


def test_positional_arguments_are_refused(tmp_path):
  line = error_line(call(program(tmp_path, 'pass'), 'configs/demo.py'))
  assert line == "error: unexpected argument 'configs/demo.py'; flags begin with --"


CONFIGS = {
  'KeyError': ("{}['width']", r":2: KeyError: 'width'$"),
  'NameError': ('undefined', r":2: NameError: name 'undefined' is not defined$"),
  'ImportError': ('import nothing', r":2: ModuleNotFoundError: No module named 'nothing'$"),
  'OSError': ("open('nowhere')", r'nowhere'),
  'ValueError': ("raise ValueError('in this file')", r'^error: in this file$'),
  'UserError': (
    "from videogpt_jax.errors import UserError; raise UserError('rule; remedy')",
    r'^error: rule; remedy$',
  ),
  'SyntaxError': ('def', r'invalid syntax'),
}


@pytest.mark.slow
@pytest.mark.parametrize('case', CONFIGS)
def test_a_configuration_file_that_raises_is_one_line(tmp_path, case):
  body, message = CONFIGS[case]
  (tmp_path / 'config.py').write_text(f'def get_config():\n  {body}\n')
  done = call('-m', 'videogpt_jax.main', f'--config={tmp_path / "config.py"}')
  assert re.search(message, error_line(done)), done.stderr


@pytest.mark.parametrize(
  ('path', 'message'),
  [
    (
      'configs/nope.py',
      '--config: there is no file configs/nope.py; names are ablations, bair, demo, ',
    ),
    ('configs', '--config cannot be loaded: Is a directory: configs'),
    ('', '--config cannot be loaded: Path to config file is an empty string'),
  ],
)
def test_a_configuration_file_that_is_not_there_is_named(path, message):
  assert f'error: {message}' in error_line(call('-m', 'videogpt_jax.main', f'--config={path}'))


@pytest.mark.slow
@pytest.mark.parametrize('module', ['sample', 'evaluate', 'encode', 'export', 'export_torch'])
def test_an_out_that_is_no_folder_is_refused_before_any_work(module, tmp_path):
  (tmp_path / 'file').touch()
  flags = ['--model=runs/nope', f'--out={tmp_path / "file" / "out"}']
  done = call('-m', f'videogpt_jax.{module}', *flags, *([TINY] if module == 'encode' else []))
  assert f'{tmp_path / "file"} is a file; name a folder' in error_line(done)


@pytest.mark.parametrize('module', READERS_OF_MODELS)
def test_a_model_that_is_not_there_is_all_that_is_said(module, tmp_path):
  rest = {
    'sample': [f'--out={tmp_path / "out"}'],
    'encode': [TINY, f'--out={tmp_path / "out"}'],
    'export': [f'--out={tmp_path / "out"}'],
    'export_torch': [f'--out={tmp_path / "out"}'],
    'import_torch': [f'--workdir={tmp_path / "out"}'],
  }
  for name, message in (('nope', 'nope: no such file or folder'), ('docs', 'docs is neither')):
    done = call('-m', f'videogpt_jax.{module}', f'--model={name}', *rest.get(module, []))
    assert message in error_line(done) and not done.stdout
    assert not (tmp_path / 'out').exists()


def test_the_two_names_of_a_model_are_one(tmp_path):
  file = tmp_path / 'program.py'
  file.write_text(
    'from videogpt_jax import cli\n'
    'model = cli.define_model()\n'
    'cli.start(lambda argv: print(model.value, model.present))\n'
  )
  assert call(file, '--model=a').stdout == 'a 1\n'
  assert call(file, '--workdir=a').stdout == 'a 1\n'
  assert call(file, '--model=a', '--workdir=a').stdout == 'a 2\n'
  line = error_line(call(file, '--model=a', '--workdir=b'))
  assert '--model=a and --workdir=b name different models' in line
  assert error_line(call(file)) == 'error: --model is missing; for example --model=doom'
