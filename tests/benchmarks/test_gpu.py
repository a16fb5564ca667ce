"""The check of a GPU, without one: every part at tiny size, and what becomes of parts that fail."""

import json
import os
import subprocess
import sys
import types

import pytest

from benchmarks import cards
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import parts, prior, process
from benchmarks.gpu.case import Case, left_out
from benchmarks.gpu.report import Report
from configs.scale import prior_1b, prior_100m

ABSENT = (
  *('tensorflow', 'tensorflow_datasets', 'clu', 'ml_collections', 'orbax', 'etils', 'absl'),
  *('av', 'PIL', 'safetensors', 'h5py'),
)
"""Modules that a machine with jax, flax, optax, einops, numpy and PyTorch need not have."""

REFUSAL = f"""
import importlib.abc, sys
import flax, flax.nnx, jax, optax  # which may want some of them

ABSENT = {ABSENT}

class Refusal(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path, target=None):
    if name.split('.')[0] in ABSENT:
      raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

for name in list(sys.modules):
  if name.split('.')[0] in ABSENT:
    del sys.modules[name]
sys.meta_path.insert(0, Refusal())
"""


@pytest.fixture
def refusing(tmp_path):
  """An environment in which no Python process, nor its children, can import these modules."""
  (tmp_path / 'sitecustomize.py').write_text(REFUSAL)
  path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get('PYTHONPATH')])])
  return os.environ | {'PYTHONPATH': path, 'JAX_PLATFORMS': 'cpu'}


def run(*arguments, **kwargs):
  command = [sys.executable, '-m', 'benchmarks.gpu', *arguments]
  return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_every_part_is_imported_without_tensorflow_and_the_like(refusing):
  modules = ', '.join(part.module for part in parts.PARTS.values())
  code = f'import benchmarks.gpu.__main__, {modules}'
  subprocess.run([sys.executable, '-c', code], check=True, env=refusing)
  code = 'import ml_collections'
  assert subprocess.run([sys.executable, '-c', code], env=refusing, capture_output=True).returncode


@pytest.mark.slow
def test_every_part_runs_on_a_cpu_at_tiny_size(refusing, tmp_path):
  out = tmp_path / 'out'
  ran = run('--size=tiny', f'--out={out}', '--seconds=600', env=refusing)
  assert ran.returncode == 0, ran.stdout + ran.stderr
  assert str(out / 'gpu.md') in ran.stdout
  found = json.loads((out / 'gpu.json').read_text())
  assert list(found['parts']) == list(parts.PARTS)
  rows = {name: part['rows'] for name, part in found['parts'].items()}
  for name, part in found['parts'].items():
    assert part['status'] == 'done', part
    assert not any('fault' in row for row in part['rows'])
    assert f'## {name}: done' in (out / 'gpu.md').read_text()
  checked = {row['name'].split(',')[0] for row in rows['kernels'] if 'out' in row}
  assert checked == {'triton', 'blockwise', 'dense'}
  (step,) = (row for row in rows['prior'] if 'ms' in row)
  assert step['ms'] > 0
  assert {row['name'].split(',')[1] for row in rows['prior'] if 'left_out' in row} == {
    ' cudnn',
    ' triton',
  }
  assert any(row.get('% of floor', 0) > 0 for row in rows['sampling'])
  assert any(row['name'].startswith('ours') and row['ms'] > 0 for row in rows['vqvae'])
  assert sum(row.get('% of kernels', 0) for row in rows['profile']) > 10
  assert {path.name for path in out.glob('*.xplane.pb')} == {
    'prior.xplane.pb',
    'vqvae.xplane.pb',
  }


def test_without_a_gpu_it_says_so_in_a_line(tmp_path):
  ran = run(f'--out={tmp_path / "out"}')
  assert ran.returncode == 1
  assert len(ran.stderr.splitlines()) == 1
  assert ran.stderr.startswith('error: no GPU: JAX runs on the CPU')
  assert '--size=tiny' in ran.stderr
  assert not (tmp_path / 'out' / 'gpu.json').exists()


def test_an_unknown_part_is_refused_with_those_that_exist(capsys, tmp_path):
  assert command.main(['--only=kernels,priors', f'--out={tmp_path}']) == 1
  assert 'no part priors; the parts are kernels, prior' in capsys.readouterr().err


ABOUT = 'A part that goes wrong; this module is one.'


def cases(size, out):
  """What can happen to a part."""
  yield Case('good', lambda: {'ms': 1.5, 'of': None})
  yield left_out('absent', 'there is none')
  yield Case('bad', lambda: 1 / 0)
  yield Case('too much', lambda: {'fault': 'above the bound', 'error': float('nan')})
  yield Case('last', lambda: os._exit(3))


def test_a_part_that_crashes_keeps_its_rows_and_the_next_one_runs(monkeypatch, tmp_path, capsys):
  bad = parts.Part('tests.benchmarks.test_gpu', 1)
  monkeypatch.setattr(command, 'PARTS', {'bad': bad, 'worse': parts.Part('no.such.module', 1)})
  assert command.main([f'--out={tmp_path}', '--size=tiny', '--seconds=240']) == 1
  captured = capsys.readouterr()
  assert captured.err == 'failed: bad, worse\n'
  assert f'results: {tmp_path / "gpu.md"}' in captured.out
  found = json.loads((tmp_path / 'gpu.json').read_text())
  part, worse = found['parts']['bad'], found['parts']['worse']
  rows = {row['name']: row for row in part['rows']}
  assert list(rows) == ['good', 'absent', 'bad', 'too much']
  assert rows['good'] == {'name': 'good', 'ms': 1.5, 'of': None}
  assert rows['absent']['left_out'] == 'there is none'
  assert 'ZeroDivisionError' in rows['bad']['fault']
  assert 'test_gpu.py' in rows['bad']['traceback']
  assert rows['too much']['error'] == 'nan'
  assert part['status'] == worse['status'] == 'failed'
  assert part['error'].startswith('the process ended with status 3, at: last')
  assert "No module named 'no'" in worse['error']
  assert found['machine']['platform'] == 'cpu'
  text = (tmp_path / 'gpu.md').read_text()
  assert '| good | 1.5 |' in text
  assert '- bad: FAULT: ZeroDivisionError: division by zero' in text


def test_a_part_that_hangs_is_stopped_and_named(tmp_path, monkeypatch):
  hang = types.SimpleNamespace(kill=lambda: killed.append(1), join=lambda: None, start=lambda: None)
  killed = []

  class Context:
    def Pipe(self, duplex):  # noqa: N802
      import multiprocessing

      ours, theirs = multiprocessing.Pipe(duplex)
      theirs.send(('begun', 'the long one'))
      self.kept = theirs
      return ours, types.SimpleNamespace(close=lambda: None)

    def Process(self, target, args):  # noqa: N802
      return hang

  context = Context()
  monkeypatch.setattr(process.multiprocessing, 'get_context', lambda _: context)
  told = list(process.run_part('m', 'tiny', str(tmp_path), 'log', seconds=0.2, limit=10.0))
  assert told[0] == ('begun', 'the long one')
  assert told[1][0] == 'failed'
  assert told[1][1].endswith('at: the long one')
  assert killed


def test_no_case_begins_after_the_time_of_its_part():
  assert process.outcome(Case('late', lambda: {'ms': 1.0}), late=True) == {
    'name': 'late',
    'left_out': 'no time was left',
  }


def test_a_case_that_needs_too_much_memory_is_left_out_and_no_fault():
  def run():
    raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.')

  row = process.outcome(Case('large', run), late=False)
  assert row['left_out'].startswith('does not fit into the memory')
  assert 'fault' not in row


def test_a_kernel_that_needs_too_much_of_a_gpus_own_memory_is_a_fault():
  def run():
    raise RuntimeError('RESOURCE_EXHAUSTED: Shared memory size limit exceeded: requested 262144')

  assert 'Shared memory' in process.outcome(Case('large', run), late=False)['fault']


def test_the_files_are_whole_at_every_row(tmp_path):
  report = Report(tmp_path, 'python -m benchmarks.gpu')
  report.begin('prior')
  for n in range(2):
    report.parts['prior']['rows'].append({'name': f'row {n}', 'ms': float(n)})
    report.write()
    assert len(json.loads((tmp_path / 'gpu.json').read_text())['parts']['prior']['rows']) == n + 1
  report.end('prior', 1.0)
  assert not report.failed
  assert sorted(path.name for path in tmp_path.iterdir()) == ['gpu.json', 'gpu.md']


@pytest.mark.parametrize(
  ('kind', 'flops'),
  [
    ('NVIDIA H100 80GB HBM3', 989e12),
    ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA H200', 989e12),
    ('NVIDIA A100-SXM4-40GB', 312e12),
    ('NVIDIA L4', 121e12),
    ('NVIDIA L40S', 362e12),
  ],
)
def test_a_card_is_known_by_its_name(kind, flops):
  assert cards.card_of(kind).flops == flops


def test_other_cards_have_no_peak():
  assert cards.card_of('NVIDIA GeForce GTX 1080') is None
  assert cards.card_of('cpu') is None
  assert cards.card_of('NVIDIA A100-SXM4-40GB').bandwidth < cards.card_of('NVIDIA A100').bandwidth


def test_the_priors_are_those_of_the_scaled_configurations():
  for name, file in (('1B', prior_1b), ('100M', prior_100m)):
    configured = dict(file.get_config()['prior'])
    for key, value in configured.items():
      if key not in ('attn_backend', 'remat'):
        assert getattr(prior.PRIORS[name], key) == value, key
