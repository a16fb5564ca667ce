"""The lists of packages agree, and a Python without TensorFlow is refused with a sentence."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jaxlib
import pytest

from videogpt_jax import machine, optional

PROJECT = tomllib.loads(Path('pyproject.toml').read_text())['project']
EXTRAS = PROJECT['optional-dependencies']
MAKEFILE = Path('Makefile').read_text()


def requirements(lines):
  """Each requirement without comments and spaces."""
  stripped = (line.split('#')[0].replace(' ', '') for line in lines)
  return sorted(line for line in stripped if line and not line.startswith('-'))


def name(requirement):
  return re.match(r'[\w.-]+', requirement).group().replace('_', '-').lower()


def test_the_base_and_three_extras_are_all_of_requirements():
  whole = requirements(Path('requirements.txt').read_text().splitlines())
  parts = [PROJECT['dependencies'], *(EXTRAS[extra] for extra in ('train', 'data', 'fvd'))]
  assert requirements([line for part in parts for line in part]) == whole


def test_every_optional_module_has_an_extra_that_brings_it():
  distributions = {'libtpu': 'jax', 'sklearn': 'scikit-learn', 'mlflow': 'mlflow-skinny'}
  for module, extra in optional.EXTRAS.items():
    names = {name(requirement) for requirement in EXTRAS[extra]}
    assert distributions.get(module, module.replace('_', '-')) in names, module
  assert set(optional.NEEDED_BY) == set(optional.EXTRAS.values())


def test_the_remedies_for_idle_accelerators_are_what_the_extras_bring():
  offered = {requirement for extra in EXTRAS.values() for requirement in extra}
  for remedy in machine.REMEDIES.values():
    named = re.findall(r"'(.*?)'", remedy)
    assert named and set(named) <= offered


def test_jax_has_the_extras_that_are_asked_of_it():
  offered = set(importlib.metadata.metadata('jax').get_all('Provides-Extra'))
  assert {'tpu', 'cuda12', 'cuda13'} <= offered


def test_the_lock_holds_what_is_required_for_each_python():
  pinned = {name(line) for line in requirements(Path('requirements.lock').read_text().splitlines())}
  for file in ('requirements.txt', 'requirements-dev.txt'):
    wanted = {name(line) for line in requirements(Path(file).read_text().splitlines())}
    assert wanted <= pinned
  versions = re.findall(r'^jax(?:lib)?==(\S+)', Path('requirements.lock').read_text(), re.MULTILINE)
  assert {'.'.join(version.split('.')[:2]) for version in versions} == {'0.10', '0.12'}
  assert all(version.startswith(machine.CPU_FLAG_JAXLIBS) for version in versions)


@pytest.mark.parametrize('flag', [machine.CPU_FLAG, machine.DETERMINISTIC_FLAG])
def test_this_jaxlib_takes_the_flags(flag):
  """XLA aborts on a flag that it does not know."""
  assert jaxlib.__version__.startswith(machine.CPU_FLAG_JAXLIBS)
  code = 'import jax; print(jax.numpy.ones(3).sum())'
  environment = {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag}
  done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True)
  assert done.returncode == 0, done.stderr


def test_the_tests_for_the_newest_jax_exist():
  tests = re.search(r'NEWEST_TESTS = ((?:.*\\\n)*.*)', MAKEFILE).group(1).replace('\\', '').split()
  assert tests
  for file, _, test in (name.partition('::') for name in tests):
    assert f'def {test}' in Path(file).read_text()


def other_python(tmp_path, version):
  """A python that claims to be of another version."""
  python = tmp_path / 'python'
  pretend = f'import sys; sys.version_info = {version}; exec(sys.argv[2])'
  python.write_text(f'#!/bin/sh\nexec {sys.executable} -c \'{pretend}\' "$@"\n')
  python.chmod(0o755)
  return python


@pytest.mark.parametrize('version', [(3, 10, 9), (3, 14, 0)])
def test_setup_refuses_a_python_without_tensorflow(tmp_path, version):
  python = other_python(tmp_path, version)
  done = subprocess.run(
    ['make', 'setup', f'VENV={tmp_path}/venv', f'PYTHON={python}'], capture_output=True, text=True
  )
  assert done.returncode != 0
  assert 'error: this needs Python 3.11 to 3.13' in done.stderr
  assert not (tmp_path / 'venv').exists()


def test_setup_and_the_package_name_the_same_pythons():
  low, high = re.search(
    r'\((\d, \d+)\) <= sys.version_info\[:2\] <= \((\d, \d+)\)', MAKEFILE
  ).groups()
  named = tuple(tuple(map(int, version.split(', '))) for version in (low, high))
  assert named == optional.TENSORFLOW_PYTHONS
  assert PROJECT['requires-python'] == '>=' + '.'.join(map(str, named[0]))


def test_a_python_without_tensorflow_is_told_which_have_one(monkeypatch):
  error = ModuleNotFoundError('no', name='tensorflow')
  assert str(optional.explain(error)) == (
    "training, and reading data sets, needs tensorflow: pip install '.[train]'"
  )
  monkeypatch.setattr(sys, 'version_info', (3, 14, 0, 'final', 0))
  assert 'no release for Python 3.14; use Python 3.11 to 3.13' in str(optional.explain(error))
  assert optional.explain(ModuleNotFoundError('no', name='numpy')) is None
