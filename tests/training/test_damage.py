"""Damaged checkpoints, failed writes, folders in use, broken small files."""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import shutil
import subprocess
import sys
import zlib
from typing import NamedTuple

import jax
import pytest
import tensorstore as ts
from etils import epath
from flax import nnx

from benchmarks import peak_memory
from tests.training.test_checkpoint import STAGE, assert_equal, restored, saved, state_at
from tests.training.tiny import ListLog, data, leaves
from videogpt_jax import workdir
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, replace, write_json
from videogpt_jax.training import failures, tensorboard
from videogpt_jax.training.checkpoint import Checkpoints, latest_step, restore_model
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit
from videogpt_jax.training.lock import LOCK, lock
from videogpt_jax.training.logging import read_metrics
from videogpt_jax.training.sharding import MeshConfig, make_mesh


def told(caplog):
  """Returns our own messages: Orbax adds some where it waits for a slow disk."""
  return [x.getMessage() for x in caplog.records if x.name.partition('.')[0] == 'videogpt_jax']


def truncated(folder):
  """Halves the largest file: arrays."""
  files = [file for file in folder.rglob('*') if file.is_file()]
  largest = max(files, key=lambda file: file.stat().st_size)
  largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def without_parameters(folder):
  for item in ('params', 'ema_params'):
    shutil.rmtree(folder / item)


def without_arrays(folder):
  for file in [file for file in folder.rglob('d/*') if file.is_file()]:
    file.unlink()


def garbled(folder):
  for file in folder.rglob('*METADATA'):
    file.write_bytes(b'\x00\xff')
  for file in folder.rglob('manifest.ocdbt'):
    file.write_bytes(b'\x00\xff')


@pytest.mark.parametrize('harm', [without_parameters, without_arrays, garbled, truncated])
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_used(
  harm, tmp_path, caplog
):
  logging.getLogger('videogpt_jax').propagate = True
  for reader in ('training', 'sampling'):
    folder = tmp_path / reader
    saved(folder, state_at(3), state_at(4))
    for item in ('',) if harm is not truncated else ('params', 'ema_params'):
      harm(folder / '4' / item)
    if reader == 'training':
      with Checkpoints(folder) as checkpoints:
        assert_equal(checkpoints.restore(state_at(0)), state_at(3))
        assert checkpoints.latest_step() == 3
        checkpoints.save(state_at(5))
      assert latest_step(folder) == 5
    else:
      found = restore_model(folder, *STAGE.abstract()[1:])
      assert_equal(found, (state_at(3).ema_params, state_at(3).ema_variables))
    assert (folder / '4.damaged').is_dir() and not (folder / '4').exists()
    assert 'set aside as 4.damaged; step 3 is used' in told(caplog)[-1]


def test_a_flipped_bit_in_the_arrays_is_noticed(tmp_path):
  """Arrays of some size, which are compressed into files without a checksum."""
  first = state_at(1)
  big = jax.random.normal(jax.random.key(0), (300, 300))
  for step in (1, 2):
    params = jax.tree.map(lambda x: x, first.params)
    params['generator']['kernel'] = params['generator']['kernel'].replace(big + step)
    at = jax.numpy.asarray(step, jax.numpy.int32)
    saved(tmp_path, state := dataclasses.replace(first, step=at, params=params))
  like = jax.tree.map(jax.numpy.zeros_like, state)
  assert_equal(restored(tmp_path, like), state)
  files = [file for file in (tmp_path / '2').rglob('d/*') if file.is_file()]
  largest = max(files, key=lambda file: file.stat().st_size)
  content = bytearray(largest.read_bytes())
  assert len(content) > 300_000
  content[len(content) // 2] ^= 4
  largest.write_bytes(bytes(content))
  assert int(restored(tmp_path, like).step) == 1
  assert (tmp_path / '2.damaged').is_dir()


def test_where_all_are_damaged_none_is_renamed_and_the_newest_is_named(tmp_path):
  saved(tmp_path, state_at(3), state_at(4))
  for step in ('3', '4'):
    without_parameters(tmp_path / step)
  with pytest.raises(UserError, match=rf'{tmp_path}/4 cannot be read, and there is no good one'):
    restored(tmp_path, state_at(0))
  assert sorted(p.name for p in tmp_path.iterdir()) == ['3', '4']


def reshaped(item, name, changes, content):
  """Changes an array's metadata and its only chunk, as Orbax stores them."""
  stored = ts.KvStore.open({'driver': 'ocdbt', 'base': f'file://{item}/'}).result()
  metadata = json.loads(stored.read(f'{name}/.zarray').result().value) | changes
  stored.write(f'{name}/.zarray', json.dumps(metadata).encode()).result()
  stored.write(f'{name}/{".".join("0" * len(metadata["shape"]))}', content).result()


@pytest.mark.parametrize(
  ('name', 'changes', 'why'),
  [
    ('generator/kernel', {'chunks': [1 << 23, 3]}, r'has chunks of \(8388608, 3\)'),
    ('generator/kernel', {'chunks': [1 << 23, 3], 'shape': [1 << 23, 3]}, 'shape'),
    ('generator/kernel', {}, 'error while reading'),
  ],
)
def test_arrays_that_claim_more_than_is_stored_are_not_unpacked(name, changes, why, tmp_path):
  """A few kilobytes that would become 100 MB here, and any number elsewhere."""
  saved(tmp_path, state_at(3))
  packed = zlib.compress(bytes(100_000_000), 1)
  changes = {'compressor': {'id': 'zlib', 'level': 1}} | changes
  for item in ('params', 'ema_params'):
    reshaped(tmp_path / '3' / item, name, changes, packed)
  abstract = STAGE.abstract()[1:]
  before = peak_memory.megabytes()
  with pytest.raises(UserError, match=rf'{tmp_path}/3 cannot be read.*{why}'):
    restore_model(tmp_path, *abstract)
  assert peak_memory.megabytes() - before < 50


def test_a_discriminator_that_claims_more_than_is_stored_is_not_made_room_for(tmp_path):
  saved(tmp_path, state_at(3))
  huge, name = {'chunks': [1 << 32, 1], 'shape': [1 << 32, 1]}, 'discriminator/kernel'
  for item in ('params', 'ema_params'):
    reshaped(tmp_path / '3' / item, name, huge, b'')
  only_the_other = nnx.filter_state(STAGE.abstract()[1], nnx.PathContains('generator'))
  with pytest.raises(UserError, match=r'3 cannot be read.*unpack to 17179869188'):
    restore_model(tmp_path, only_the_other, STAGE.abstract()[2])


@contextlib.contextmanager
def files_limited_to(n_bytes):
  """As if the disk were full: the system refuses to let this process write larger files."""
  resource = pytest.importorskip('resource')  # Windows has none
  before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, most))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def test_a_write_that_fails_is_told_and_does_not_hide_later_ones(tmp_path, caplog):
  logging.getLogger('videogpt_jax').propagate = True
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state_at(1))
    assert checkpoints.settle()
    with files_limited_to(64):
      checkpoints.save(state_at(2))
      assert not checkpoints.settle()
    assert checkpoints.latest_step() == 1
    [line] = told(caplog)
    assert line.startswith(f'checkpoint 2 of {tmp_path} could not be written (')
    assert line.endswith(f'the last good one is {tmp_path}/1')
    checkpoints.save(state_at(2))
    assert checkpoints.settle() and checkpoints.latest_step() == 2
  assert_equal(restored(tmp_path, state_at(0)), state_at(2))


FAILING = """
import dataclasses, logging, resource, sys
import jax
from tests.training.tiny import make_stage
from videogpt_jax.training.checkpoint import Checkpoints, latest_step
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.step import init_state

log = logging.getLogger('videogpt_jax')
log.addHandler(logging.StreamHandler())
log.propagate = False
first = init_state(make_stage('vqvae'), OptimizerConfig(ema_decay=0.9), 10, jax.random.key(0))
at = lambda n: dataclasses.replace(first, step=jax.numpy.asarray(n, jax.numpy.int32))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
with Checkpoints(sys.argv[1]) as checkpoints:
  checkpoints.save(at(1))
  assert checkpoints.settle()
  for step, n_bytes in ((2, 64), (3, 1000), (4, 16_000)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, most))
    checkpoints.save(at(step))
    assert not checkpoints.settle()
  resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
  checkpoints.save(at(5))
  assert checkpoints.settle()
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
  checkpoints.save(at(6))
assert latest_step(sys.argv[1]) == 5
"""
"""Writes that fail in a small file, in a name, and in the arrays, and one as the program ends."""


@pytest.mark.slow
def test_nothing_but_a_line_is_printed_of_a_write_that_fails(tmp_path):
  """Orbax goes on in several threads, whose tracebacks come later, some as the program ends."""
  done = subprocess.run(
    [sys.executable, '-c', FAILING, str(tmp_path)], capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr[-3000:]
  lines = done.stderr.splitlines()
  for step, line in zip((2, 3, 4, 6), lines, strict=True):
    assert line.startswith(f'checkpoint {step} of {tmp_path} could not be written ('), lines
    assert line.endswith(f'the last good one is {tmp_path}/{5 if step == 6 else 1}')
  assert sorted(p.name for p in tmp_path.iterdir()) == ['1', '5']


WRITES = ('mkdir', 'makedirs', 'open', 'rename', 'replace')
READS = ('exists', 'isdir', 'listdir', 'glob', 'stat')


def failing(patch, folder, operations, times):
  """Makes so many of these operations of Orbax's in a folder raise, as a bucket's do."""
  system, raised = epath.backend.os_backend, []

  def fail(do, path, *arguments, **options):
    inside = os.fspath(path).startswith(f'{folder}{os.sep}') or do.__name__ == 'listdir'
    if inside and len(raised) < times:
      raised.append(do.__name__)
      raise ConnectionError('503, try again later')
    return do(path, *arguments, **options)

  for name in operations:
    patch.setattr(system, name, functools.partial(fail, getattr(system, name)))
  return raised


@pytest.mark.parametrize('operations', [('mkdir', 'makedirs'), ('open',), ('rename', 'replace')])
def test_a_file_system_that_raises_is_told_of_and_does_not_hide_later_writes(
  operations, tmp_path, caplog, monkeypatch
):
  logging.getLogger('videogpt_jax').propagate = True
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state_at(1))
    assert checkpoints.settle()
    for step in (2, 3):
      with monkeypatch.context() as patch:
        raised = failing(patch, tmp_path, operations, times=99)
        checkpoints.save(state_at(step))
        assert not checkpoints.settle() or checkpoints.latest_step() == 1
        assert not failures.writers()  # which would hold up the end of the program
        assert set(raised) <= set(operations) and raised
      line = told(caplog)[step - 2]
      assert line.startswith(f'checkpoint {step} of {tmp_path} could not be written (')
      assert '503, try again later' in line and line.endswith(f'the last good one is {tmp_path}/1')
    assert len(told(caplog)) == 2
    checkpoints.save(state_at(3))
    assert checkpoints.settle() and checkpoints.latest_step() == 3
  assert_equal(restored(tmp_path, state_at(0)), state_at(3))
  assert sorted(p.name for p in tmp_path.iterdir()) == ['1', '3']


@pytest.mark.parametrize(('times', 'opens'), [(3, True), (10_000, False)])
def test_a_folder_that_cannot_be_opened_again_is_tried_for_a_while(
  times, opens, tmp_path, caplog, monkeypatch
):
  """Nothing works, for a moment or for long: the bucket is gone."""
  logging.getLogger('videogpt_jax').propagate = True
  monkeypatch.setattr('videogpt_jax.training.checkpoint.REOPENING', (0.01, 0.01))
  with contextlib.suppress(UserError), Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state_at(1))
    assert checkpoints.settle()
    with monkeypatch.context() as patch:
      assert failing(patch, tmp_path, (*WRITES, *READS), times) == []
      if opens:
        checkpoints.save(state_at(2))
        checkpoints.settle()
      else:
        with pytest.raises(UserError, match=rf'last good one is {tmp_path}/1; the folder cannot'):
          checkpoints.save(state_at(2))
          checkpoints.settle()
    if opens:
      [line] = told(caplog)
      assert line.endswith(f'the last good one is {tmp_path}/1')
      checkpoints.save(state_at(3))
  assert latest_step(tmp_path) == (3 if opens else 1)


@pytest.mark.parametrize(('times', 'ends'), [(1, False), (10_000, True)])
def test_the_last_write_is_tried_twice_where_the_file_system_raises(
  times, ends, tmp_path, monkeypatch
):
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  config = TrainingConfig(steps=1, batch_size=8, evaluate_batches=1)
  failing(monkeypatch, tmp_path, ('rename', 'replace'), times)
  with contextlib.ExitStack() as told, Checkpoints(tmp_path) as checkpoints:
    if ends:
      told.enter_context(pytest.raises(UserError, match='step 1 could not be saved'))
    fit(STAGE, config, data(), mesh, checkpoints, ListLog('generator/loss'))
  assert latest_step(tmp_path) == (None if ends else 1)


class Disk(NamedTuple):
  """What is left on a disk."""

  free: int


def test_a_disk_without_room_gets_nothing_and_is_told_of(tmp_path, caplog, monkeypatch):
  logging.getLogger('videogpt_jax').propagate = True
  state = state_at(2)
  needed = sum(leaf.nbytes for leaf in leaves(state))
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state_at(1))
    checkpoints.settle()
    with monkeypatch.context() as patch:
      patch.setattr('shutil.disk_usage', lambda folder: Disk(needed - 1))
      checkpoints.save(state)
      assert checkpoints.latest_step() == 1
      [line] = told(caplog)
      assert '0 MiB are free, it takes up to 0 MiB' in line and f'{tmp_path}/1' in line
      patch.setattr('shutil.disk_usage', lambda folder: Disk(needed))
      checkpoints.save(state)
      assert checkpoints.settle() and checkpoints.latest_step() == 2


def test_a_last_write_that_fails_twice_ends_the_run_in_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr('shutil.disk_usage', lambda folder: Disk(0))
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  config = TrainingConfig(steps=1, batch_size=8, evaluate_batches=1)
  message = 'pair: step 1 could not be saved; the last good checkpoint is none; mend the disk'
  with pytest.raises(UserError, match=message), Checkpoints(tmp_path) as checkpoints:
    fit(STAGE, config, data(), mesh, checkpoints, ListLog('generator/loss'))


def test_small_files_are_whole_or_as_before(tmp_path):
  """A write that breaks off leaves the old file."""
  file = tmp_path / 'a.json'
  write_json(file, {'a': 1})
  with files_limited_to(64), pytest.raises(UserError, match=r'a.json \(File too large'):
    write_json(file, {'a': 'b' * 100})
  assert read_json(file, {}) == {'a': 1}
  with files_limited_to(64), pytest.raises(UserError, match=r'a.json \(File too large'):
    replace(file, b'c' * 100)
  assert read_json(file, {}) == {'a': 1}


def test_a_folder_that_was_removed_ends_the_run(tmp_path):
  with pytest.raises(UserError, match=r'has been removed'), Checkpoints(tmp_path / 'a') as kept:
    kept.save(state_at(1))
    kept.settle()
    shutil.rmtree(tmp_path / 'a')
    (tmp_path / 'other').mkdir()  # which may get the number of the one before
    (tmp_path / 'a').mkdir()
    kept.save(state_at(2))


def test_events_that_cannot_be_written_are_told_of_once(tmp_path, caplog):
  logging.getLogger('videogpt_jax').propagate = True
  (tmp_path / 'events').write_text('a file')
  writer = tensorboard.Writer(tmp_path / 'events')
  for step in range(3):
    writer.write_scalars(step, {'loss': 1.0})
  writer.close()
  [line] = told(caplog)
  assert line.startswith(f'events cannot be written to {tmp_path}/events any more (')


def test_a_folder_in_use_is_refused_and_its_holder_named(tmp_path):
  program = (
    'import sys; from etils.epath import Path; from videogpt_jax.training.lock import lock\n'
    'with lock(Path(sys.argv[1])): print("held", flush=True); sys.stdin.read()'
  )
  holder = subprocess.Popen(
    [sys.executable, '-c', program, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert holder.stdout.readline() == 'held\n'
  message = rf'{tmp_path} is in use by process {holder.pid} on host \S+; '
  with pytest.raises(UserError, match=message), lock(epath.Path(tmp_path)):
    pass
  holder.kill()
  holder.wait()
  with lock(epath.Path(tmp_path)):  # which a kill has set free
    workdir.claim(epath.Path(tmp_path), Experiment())
    assert (tmp_path / LOCK).exists()
  assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize('text', ['', '{"a": 1', '[1, 2', '3', '\x00', 'null'])
def test_a_small_file_that_is_broken_is_named(tmp_path, text):
  path = epath.Path(tmp_path)
  read = {
    'config.json': workdir.read_experiment,
    'metrics.json': read_metrics,
    'finished.json': lambda p: workdir.is_finished(p, Experiment(), 'sample'),
    'classes.json': lambda path: workdir.names(path, 'classes'),
    'actions.json': lambda path: workdir.names(path, 'actions'),
  }
  for name, reader in read.items():
    (path / name).write_text(text)
    with pytest.raises(UserError, match=f'{name}.* (is broken|broken)'):
      reader(path)
  (path / 'x.json').write_bytes(b'\xff\xfe')
  with pytest.raises(UserError, match=r'x\.json is broken'):
    read_json(path / 'x.json', {})


@pytest.mark.parametrize('text', ['{"prior": 3}', '{"vqvae": {"n_codes": "many"}}'])
def test_a_configuration_of_wrong_types_names_the_file(tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(UserError, match=r'config\.json'):
    workdir.read_experiment(epath.Path(tmp_path))


def test_only_a_stage_that_diverged_goes_on_with_a_smaller_rate(tmp_path):
  path, first = epath.Path(tmp_path), Experiment()
  with_rate = lambda rate: workdir.from_dict(
    {'vqvae_training': {'optimizer': {'learning_rate': rate}}}
  )
  workdir.claim(path, first)
  saved(workdir.checkpoints_of(path, 'vqvae'), state_at(3))
  with pytest.raises(UserError, match=r'learning_rate is 0.0003 there and 1e-05 here'):
    workdir.claim(path, with_rate(1e-5))
  workdir.mark_diverged(path, 'vqvae')
  with pytest.raises(UserError, match=r'learning_rate is 0.0003 there and 1.0 here'):
    workdir.claim(path, with_rate(1.0))
  workdir.claim(path, with_rate(1e-5))
  assert workdir.read_experiment(path) == with_rate(1e-5)
  workdir.unmark_diverged(path, 'vqvae')
  with pytest.raises(UserError, match='another configuration'):
    workdir.claim(path, with_rate(1e-6))
