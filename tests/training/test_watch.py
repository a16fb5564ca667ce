"""Steps that take too long are reported; hosts that are gone are noticed and named."""

import json
import threading
import time

import jax
import pytest
from etils.epath import Path

from videogpt_jax.errors import UserError
from videogpt_jax.training import watch as watching
from videogpt_jax.training.clock import Clock
from videogpt_jax.training.distributed import PreemptedError
from videogpt_jax.training.watch import DeadHostError, Watch

PERIOD = 0.02


def wait_for(condition, seconds=10):
  until = time.monotonic() + seconds
  while not condition() and time.monotonic() < until:
    time.sleep(PERIOD / 2)
  assert condition()


class Other:
  """Another process: writes its line as often as `Watch` does, until it is killed."""

  def __init__(self, folder, phase='steps of vqvae'):
    self.file, self.phase, self._stop = folder / '1', phase, threading.Event()
    self._thread = threading.Thread(target=self._run)

  def _run(self):
    n = 0
    while not self._stop.wait(PERIOD / 2):
      n += 1
      line = {'host': 'b', 'process': 1, 'phase': self.phase, 'round': n}
      watching.files.replace(self.file, json.dumps(line))

  def __enter__(self):
    self.file.parent.mkdir(parents=True, exist_ok=True)
    self._thread.start()
    return self

  def kill(self):
    self._stop.set()
    self._thread.join()

  __exit__ = lambda self, *_: self.kill()


@pytest.fixture
def two(monkeypatch):
  """Two processes, of which this is the first; returns the lines with which it would have ended."""
  ended = []
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(watching, '_end', ended.append)
  return ended


def test_a_process_that_stops_is_named_with_what_it_did_last(two, tmp_path):
  with Other(tmp_path / 'hosts') as other, Watch(Path(tmp_path / 'hosts'), PERIOD) as watch:
    wait_for(lambda: watch._silent)
    rounds = watch._rounds
    wait_for(lambda: watch._rounds > rounds + 2 * watching.SILENT_ROUNDS)
    assert not two
    other.kill()
    wait_for(lambda: two)
  assert two[0].startswith('host b (process 1), last in steps of vqvae, has not answered for ')
  assert 'resumes from the last checkpoint' in two[0]


def test_one_that_stops_after_its_first_line_is_missed_too(two, tmp_path):
  """It did not use to be: the line might have been of an earlier run."""
  folder = tmp_path / 'hosts'
  folder.mkdir()
  (folder / '1').write_text('{"host": "b", "process": 1, "phase": "compiling"}')
  with Watch(Path(folder), PERIOD):
    wait_for(lambda: two)
  assert two[0].startswith('host b (process 1), last in compiling, has not answered for ')


def test_the_lines_of_an_earlier_run_are_cleared(tmp_path):
  folder = tmp_path / 'hosts'
  watching.clear(Path(folder))
  folder.mkdir()
  for name in ('1', '1.tmp', '7'):
    (folder / name).write_text('{}')
  watching.clear(Path(folder))
  assert not list(folder.iterdir())


def test_one_that_leaves_in_order_or_never_came_is_not_missed(two, tmp_path):
  folder = tmp_path / 'hosts'
  with Other(folder) as other, Watch(Path(folder), PERIOD) as watch:
    wait_for(lambda: watch._silent)
    other.kill()
    other.file.unlink()
    wait_for(lambda: not watch._silent)
  with Watch(Path(folder.parent / 'late'), PERIOD) as watch:
    wait_for(lambda: watch._rounds > 2 * watching.SILENT_ROUNDS)
  assert not two
  assert not folder.exists()  # nothing is left


@pytest.mark.parametrize('failed', [True, False])
def test_a_failure_is_that_of_the_process_that_is_gone(failed, two, tmp_path):
  folder = tmp_path / 'hosts'
  with pytest.raises(DeadHostError) as found, Watch(Path(folder), PERIOD) as watch:
    with Other(folder):
      wait_for(lambda: watch._silent)
    if failed:
      line = {'host': 'b', 'process': 1, 'phase': 'failure', 'failed': 'ValueError: no such clip'}
      (folder / '1').write_text(json.dumps(line))
    raise RuntimeError('Connection closed by peer')
  said = 'has failed: ValueError: no such clip; ' if failed else 'last in steps of vqvae, is gone; '
  assert said in str(found.value) and 'host b (process 1)' in str(found.value)
  assert isinstance(found.value.__cause__, RuntimeError)


def test_a_failure_with_all_others_alive_is_ones_own_and_the_others_can_read_it(two, tmp_path):
  folder = tmp_path / 'hosts'
  with Other(folder):
    with pytest.raises(RuntimeError, match='of its own'), Watch(Path(folder), PERIOD) as watch:
      wait_for(lambda: watch._silent)
      raise RuntimeError('a fault of its own')
    assert json.loads((folder / '0').read_text())['failed'] == 'RuntimeError: a fault of its own'


@pytest.mark.parametrize('error', [UserError('use 4'), PreemptedError(3), KeyboardInterrupt()])
def test_an_end_that_is_meant_is_not_looked_into(error, two, tmp_path, capsys):
  with pytest.raises(type(error)), Watch(Path(tmp_path / 'hosts'), PERIOD):
    raise error
  assert not capsys.readouterr().err


def test_a_step_of_ten_times_the_median_is_reported_once_with_host_and_phase(capsys):
  with Clock() as clock, Watch(None, PERIOD, shortest=0.2) as watch:
    with watch.training('prior', clock):
      for step in range(1, 8):
        clock.of_step(step)
        time.sleep(0.01)
      with clock.during('evaluation'):
        time.sleep(0.4)  # which is no step
      assert not capsys.readouterr().err
      with clock.during('data'):
        time.sleep(0.5)
    time.sleep(0.3)  # nor is what follows
  [line] = capsys.readouterr().err.splitlines()
  assert line.startswith('warning: prior: step 7 has taken 0 s so far, the median is 0.01')
  assert line.endswith(' (process 0) is in data of prior')


def test_where_hosts_wait_for_one_it_is_that_one_which_is_named(two, tmp_path, capsys):
  folder = tmp_path / 'hosts'
  with (
    Other(folder, 'data of prior'),
    Clock() as clock,
    Watch(Path(folder), PERIOD, shortest=0.2) as watch,
    watch.training('prior', clock),
  ):
    for step in range(1, 8):
      clock.of_step(step)
      time.sleep(0.01)
    time.sleep(0.5)
  [line] = capsys.readouterr().err.splitlines()
  assert line.endswith('host b (process 1) is in data of prior')
