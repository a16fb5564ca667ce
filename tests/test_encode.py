"""The entry point that writes shards of codes."""

import json
import os
import subprocess
import sys

import pytest

_PROGRAM = """
import runpy, sys, types
import numpy as np
import videogpt_jax

class Tokenizer:
  digest = 'abc'
  spec = types.SimpleNamespace(n_codes=7, time_grid=None)

  def encode(self, video):
    assert video.dtype == 'float32' and -0.5 <= video.min() and video.max() <= 0.5
    return np.round(7 * (np.asarray(video)[:, ::4, ::16, ::16, 0] + 0.5)).astype(np.int32)

def load(path):
  print('loaded', path)
  return Tokenizer()

videogpt_jax.load_vqvae = load
runpy.run_module('videogpt_jax.encode', run_name='__main__')
"""
_FLAGS = (
  '--config=configs/demo.py',
  '--config.dataset.n_train_clips=9',
  '--config.dataset.n_test_clips=5',
)


def _encode(*flags, program=('-c', _PROGRAM), **environment):
  return subprocess.run(
    [sys.executable, *program, *flags],
    env=os.environ | environment,
    capture_output=True,
    text=True,
    timeout=120,
  )


@pytest.mark.parametrize(('flag', 'source'), [('model', 'digits'), ('vqvae', 'random')])
def test_shards_say_which_tokenizer_made_them(tmp_path, flag, source):
  done = _encode(
    *_FLAGS, f'--config.dataset.source={source}', f'--{flag}=runs/a', f'--out={tmp_path / "codes"}'
  )
  assert done.returncode == 0, done.stderr
  assert 'loaded runs/a' in done.stdout and 'train: 9 clips, 9 encoded crops' in done.stdout
  lines = [line for line in done.stderr.splitlines() if 'clips encoded' in line]
  assert lines and lines[-1].startswith('14/14 clips encoded')
  assert len(lines) == len(set(lines)) <= 2 and '\r' not in done.stderr
  made_from = json.loads((tmp_path / 'codes/manifest.json').read_text())['made_from']
  assert made_from['tokenizer_sha256'] == 'abc' and made_from['n_codes'] == 7


def test_missing_flags_and_several_processes_are_refused():
  module = {'program': ('-m', 'videogpt_jax.encode')}
  done = _encode(*_FLAGS, **module)
  assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
  assert '--model' in done.stderr and '--out' in done.stderr
  done = _encode(*_FLAGS, '--model=a', '--out=b', **module, JAX_NUM_PROCESSES='2')
  assert done.returncode == 1 and 'encode is one process' in done.stderr.splitlines()[-1]
