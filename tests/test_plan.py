"""The entry point as a user calls it."""

import os
import subprocess
import sys

import pytest

from tests.conftest import QUICK
from videogpt_jax.planning import compiler

CONFIG = '--config=tests/tiny_config.py'


def call(*args, **environment):
  return subprocess.run(
    [sys.executable, '-m', 'videogpt_jax.plan', *args],
    capture_output=True,
    text=True,
    timeout=300,
    env=os.environ | {'XLA_FLAGS': QUICK} | environment,
  )


@pytest.mark.parametrize(
  ('args', 'error'),
  [
    ([CONFIG], '--topology is missing; for example --topology=v5e:2x4'),
    ([CONFIG, '--topology=v5e:3x5'], 'does not exist; slices of v5e are v5e:1x1, v5e:2x2'),
    ([CONFIG, '--topology=v5e:2x2', '--stages=prayer'], "unknown stage 'prayer'"),
    ([CONFIG, '--topology=v5e:2x2', '--batch_sizes=0'], 'takes numbers of clips above 0'),
  ],
)
def test_impossible_requests_end_with_one_line(args, error):
  done = call(*args)
  assert done.returncode == 1
  assert error in done.stderr
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1


def test_without_libtpu_it_says_how_to_get_it(tmp_path):
  # A finder that denies libtpu, as if it were not installed.
  (tmp_path / 'sitecustomize.py').write_text(
    'import importlib.util as u\nfind = u.find_spec\n'
    "u.find_spec = lambda name, *rest: None if name == 'libtpu' else find(name, *rest)\n"
  )
  done = call(CONFIG, '--topology=v5e:2x2', PYTHONPATH=str(tmp_path))
  assert done.returncode == 1
  assert done.stderr == f'error: {compiler.MISSING}\n'


@pytest.mark.skipif(bool(compiler.missing()), reason=compiler.MISSING)
def test_a_plan_has_every_figure_and_no_noise():
  done = call(CONFIG, '--topology=v5e:2x2', '--stages=prior', '--config.mesh.fsdp=2')
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  for figure in (
    'prior training step, 8 clips, on v5e:2x2 (data 2, fsdp 2); a chip:',
    'parameters',
    'optimiser state',
    'activations',
    'of 16 GiB: fits; ',
    'operations',
    'HBM traffic',
    'all-gather',
    'time',
    'utilisation',
    'not measurements',
  ):
    assert figure in done.stdout
