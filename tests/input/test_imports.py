"""Reading data without the packages that only some sources need."""

import subprocess
import sys

import pytest

from videogpt_jax import input as data
from videogpt_jax.errors import UserError


def test_modules_that_need_no_tensorflow_do_not_import_it():
  names = 'config, cache, recording, video_file, video_index'
  code = f"""
import sys
from videogpt_jax.input import {names}
assert 'tensorflow' not in sys.modules
"""
  subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


def test_a_machine_without_tensorflow_is_told_what_to_install():
  code = """
import sys
sys.modules['tensorflow'] = None  # as if it were not installed
from videogpt_jax.errors import UserError
for statement in ('from videogpt_jax.input import pipeline',
                  'from videogpt_jax.input import describe',
                  'import videogpt_jax.input as data; data.shards'):
  try:
    exec(statement)
  except UserError as error:
    assert 'tensorflow' in str(error).lower() and '\\n' not in str(error), error
  else:
    raise AssertionError(statement)
"""
  subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


def test_a_source_whose_package_is_missing_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.delitem(sys.modules, 'videogpt_jax.input.sources.hdf5', raising=False)
  monkeypatch.setitem(sys.modules, 'h5py', None)
  config = data.DatasetConfig('hdf5', str(tmp_path / 'a.h5'))
  with pytest.raises(UserError, match=r'h5py: pip install .\.\[\w+\]'):
    data.describe(config)


def test_a_fault_of_our_own_stays_one(monkeypatch):
  monkeypatch.delitem(sys.modules, 'videogpt_jax.input.sources.random', raising=False)
  monkeypatch.setitem(sys.modules, 'videogpt_jax.input.clips', None)
  with pytest.raises(ModuleNotFoundError, match='clips'):
    data.import_module('sources.random')


def test_unknown_names_are_attribute_errors():
  with pytest.raises(AttributeError, match='no_such_thing'):
    _ = data.no_such_thing
