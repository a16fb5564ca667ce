"""What is told to JAX before it starts, and what a notebook gets to see."""

import os
import subprocess
import sys
import zipfile

import jaxlib
import pytest

from videogpt_jax import machine


@pytest.fixture(autouse=True)
def unset(monkeypatch):
  for name in ('JAX_PLATFORMS', 'XLA_FLAGS', *machine.NO_TPU):
    monkeypatch.setenv(name, '')  # so that it is put back
    monkeypatch.delenv(name)


def device_files(tmp_path, *names):
  for name in names:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  return str(tmp_path)


RESTARTS = """
import os, sys
from videogpt_jax import machine
print('begins', os.getpid(), flush=True)
machine.use_huge_pages(*sys.argv[1:3])
print(os.environ.get('GLIBC_TUNABLES'), sys.argv[3:])
"""


@pytest.mark.parametrize(
  ('offered', 'given', 'wanted', 'begins'),
  [
    ('always [madvise] never', None, 'glibc.malloc.hugetlb=1', 2),
    ('always [madvise] never', 'glibc.malloc.check=0', 'glibc.malloc.check=0:{}', 2),
    ('always [madvise] never', 'glibc.malloc.hugetlb=0', 'glibc.malloc.hugetlb=0', 1),
    ('[always] madvise never', None, 'None', 1),
    (None, None, 'None', 1),
  ],
)
def test_a_program_restarts_itself_once_for_huge_pages(
  tmp_path, monkeypatch, offered, given, wanted, begins
):
  """As the same process, with the same arguments."""
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  if given:
    monkeypatch.setenv('GLIBC_TUNABLES', given)
  if offered:
    (tmp_path / 'offered').write_text(f'{offered}\n')
  code = [sys.executable, '-c', RESTARTS, str(tmp_path), str(tmp_path / 'offered'), 'a b', '--c=d']
  done = subprocess.run(code, capture_output=True, text=True, check=True)
  *starts, told = done.stdout.splitlines()
  assert told == f"{wanted.format(machine.HUGE_PAGES)} ['a b', '--c=d']"
  assert len(starts) == begins and len(set(starts)) == 1


def test_an_accelerator_needs_no_huge_pages(tmp_path, monkeypatch):
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  (tmp_path / 'offered').write_text('[madvise]')
  machine.use_huge_pages(device_files(tmp_path, 'nvidia0'), str(tmp_path / 'offered'))
  assert 'GLIBC_TUNABLES' not in os.environ


DETERMINISTIC = """
import os, sys
from absl import flags
from videogpt_jax import main
main.distributed.start = lambda: print(os.environ['XLA_FLAGS'])
main.run.run = lambda *_: None
flags.FLAGS(['main', '--config=tests/tiny_config.py', *sys.argv[1:]])
main.main([])
main.main([])
"""


def test_deterministic_operations_are_asked_for_before_jax_starts(monkeypatch):
  """And once, beside what the user has set."""
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('XLA_FLAGS', '--xla_cpu_enable_fast_math=false')
  for setting, more in (('true', f' {machine.DETERMINISTIC_FLAG}'), ('false', '')):
    code = [sys.executable, '-c', DETERMINISTIC, f'--config.deterministic={setting}']
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    told = [line for line in done.stdout.splitlines() if line.startswith('--')]
    assert told == [f'--xla_cpu_enable_fast_math=false{more}'] * 2


COMPILES = """
import sys, jax, jaxlib
from videogpt_jax import machine
machine.keep_compiled(jaxlib.__version__)
said = []
jax.monitoring.register_event_listener(lambda event, **_: said.append(event))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.jit(lambda x: jax.lax.cumsum(x) * 3)(jax.numpy.arange(5.0)).block_until_ready()
hits = sum(event.endswith('cache_hits') for event in said)
print(hits, jax.config.jax_compilation_cache_dir or None)
"""


def compile_once(home, **environment):
  """Starts a process that compiles with a home folder: cache hits, and the cache's folder."""
  environment = {'XDG_CACHE_HOME': str(home), 'JAX_COMPILATION_CACHE_DIR': '', **environment}
  done = subprocess.run(
    [sys.executable, '-c', COMPILES],
    capture_output=True,
    text=True,
    check=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'} | environment,
  )
  assert not done.stderr
  hits, folder = done.stdout.split()
  return int(hits), folder


def test_a_second_process_finds_compiled_programs_in_the_users_cache(tmp_path):
  hits, folder = compile_once(tmp_path)
  assert hits == 0
  assert folder.startswith(str(tmp_path / 'videogpt_jax' / f'jaxlib-{jaxlib.__version__}-'))
  assert compile_once(tmp_path)[0] > 0


def test_the_users_own_compilation_cache_stands_and_no_cache_is_no_failure(tmp_path):
  own = compile_once(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / 'own'))
  assert own[1] == str(tmp_path / 'own')
  (tmp_path / 'file').touch()
  assert compile_once(tmp_path / 'file') == (0, 'None')


def test_accelerators_are_found_by_their_device_files(tmp_path):
  assert machine.accelerator(device_files(tmp_path, 'null', 'vfio/vfio', 'nvidiactl')) is None
  assert machine.accelerator(device_files(tmp_path, 'vfio/0')) == 'TPU'
  assert machine.accelerator(device_files(tmp_path, 'nvidia0')) == 'NVIDIA GPU'


def test_a_gpu_under_windows_linux_is_found_with_its_driver(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', str(tmp_path))
  assert machine.accelerator(device_files(tmp_path, 'dxg')) is None
  (tmp_path / 'nvidia-smi').write_text('#!/bin/sh\n')
  (tmp_path / 'nvidia-smi').chmod(0o755)
  assert machine.accelerator(str(tmp_path)) == 'NVIDIA GPU'


@pytest.mark.parametrize(
  ('file', 'remedy'), [('nvidia0', 'jax[cuda13]'), ('accel0', 'jax[tpu]'), ('vfio/12', 'jax[tpu]')]
)
def test_an_accelerator_that_stays_idle_is_told_with_the_remedy(tmp_path, file, remedy):
  dev = device_files(tmp_path, file)
  assert f"pip install '{remedy}'" in machine.idle_accelerator('cpu', dev)
  assert machine.idle_accelerator('gpu', dev) is None


def test_nothing_is_told_of_a_cpu_that_was_chosen_or_is_alone(tmp_path, monkeypatch):
  assert machine.idle_accelerator('cpu', str(tmp_path)) is None
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert machine.idle_accelerator('cpu', device_files(tmp_path, 'nvidia0')) is None


@pytest.mark.parametrize('version', ['0.10.2', '0.11.0', '0.12.0.1'])
def test_the_flag_for_cpus_is_added_to_those_given(tmp_path, monkeypatch, version):
  monkeypatch.setenv('XLA_FLAGS', '--xla_other=1')
  machine.speed_up_cpu(version, str(tmp_path))
  machine.speed_up_cpu(version, str(tmp_path))
  assert os.environ['XLA_FLAGS'] == f'--xla_other=1 {machine.CPU_FLAG}'


def test_a_users_choice_of_the_flag_stays(tmp_path, monkeypatch):
  theirs = '--xla_cpu_experimental_ynn_fusion_type=INVALID_LIBRARY_FUSION_TYPE'
  monkeypatch.setenv('XLA_FLAGS', theirs)
  machine.speed_up_cpu('0.12.0', str(tmp_path))
  assert os.environ['XLA_FLAGS'] == theirs


@pytest.mark.parametrize(
  ('version', 'platforms', 'file'),
  [
    ('0.9.2', '', 'null'),
    ('0.13.0', '', 'null'),
    ('0.100.0', '', 'null'),
    ('0.12.0', 'cuda,cpu', 'null'),
    ('0.12.0', '', 'nvidia0'),
    ('0.12.0', '', 'accel0'),
  ],
)
def test_the_flag_for_cpus_is_kept_from_all_else(tmp_path, monkeypatch, version, platforms, file):
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  machine.speed_up_cpu(version, device_files(tmp_path, file))
  assert 'XLA_FLAGS' not in os.environ


def test_a_cpu_that_is_chosen_beside_a_gpu_gets_the_flag(tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  machine.speed_up_cpu('0.12.0', device_files(tmp_path, 'nvidia0'))
  assert os.environ['XLA_FLAGS'] == machine.CPU_FLAG


def test_libtpu_is_told_that_there_is_no_tpu_only_where_there_is_none(tmp_path):
  machine.silence_missing_tpu(device_files(tmp_path, 'accel0'))
  assert not set(machine.NO_TPU) & set(os.environ)
  (tmp_path / 'accel0').unlink()
  os.environ['TPU_ACCELERATOR_TYPE'] = 'theirs'
  machine.silence_missing_tpu(str(tmp_path))
  assert {name: os.environ[name] for name in machine.NO_TPU} == {
    **machine.NO_TPU,
    'TPU_ACCELERATOR_TYPE': 'theirs',
  }


def test_loading_a_model_in_a_notebook_prints_nothing(tmp_path):
  with zipfile.ZipFile('tests/legacy/workdir.zip') as archive:
    archive.extractall(tmp_path)
  code = (
    'import logging, videogpt_jax as v; v.load_videogpt("run"); v.load_vqvae("run");'
    'logging.getLogger("absl").warning("others are still heard")'
  )
  environment = os.environ | {'PYTHONPATH': os.getcwd()}
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == ''
  assert done.stderr == 'WARNING:absl:others are still heard\n'


@pytest.mark.parametrize(
  ('also', 'said'),
  [
    ('', '[]'),
    ('import videogpt_jax.training.tensorboard', '[]'),
    ('machine.whole_tensorflow()', "['keras']"),
  ],
)
def test_tensorflow_comes_without_keras_unless_code_of_the_users_may_want_it(also, said):
  program = (
    'import sys\nfrom videogpt_jax import machine\n'
    f'machine.slim_tensorflow()\n{also}\nimport tensorflow\n'
    "print([name for name in ('keras',) if name + '.src.optimizers' in sys.modules])"
  )
  ended = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  assert ended.stdout.strip() == said
