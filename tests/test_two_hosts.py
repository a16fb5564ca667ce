"""The whole command in two processes; a notice that reaches only one; one that is gone."""

import json
import re
import signal
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath

from tests.test_main import CONFIG, call
from tests.training.test_distributed import start_two

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def finish(processes, status=0):
  """Waits for both and returns what each printed."""
  printed = [process.communicate(timeout=900) for process in processes]
  for process, (_, errors) in zip(processes, printed, strict=True):
    assert process.returncode == status, errors
  return [out for out, _ in printed]


def test_two_processes_do_the_whole_job_and_one_tells_of_it(tmp_path):
  workdir = tmp_path / 'run'
  told, silent = finish(start_two(['videogpt_jax.main', CONFIG, f'--workdir={workdir}']))
  assert 'prior_bits_per_code ' in told
  assert 'vqvae' not in silent
  assert 'Done' not in silent
  figures = json.loads((workdir / 'metrics.json').read_text())
  assert figures['reconstruction_psnr'] > 0
  for name in ('samples.gif', 'reconstructions.gif', 'samples/0002.mp4'):
    assert (workdir / name).stat().st_size > 0
  assert len(list((workdir / 'tensorboard' / 'prior').iterdir())) == 1
  again = call('main', CONFIG, f'--workdir={workdir}')
  assert again.stdout.count('finished before') == 4, again.stderr
  scored = call(
    'evaluate', f'--workdir={workdir}', '--protocol=all', f'--out={tmp_path / "scores.json"}'
  )
  assert scored.returncode == 0, scored.stderr


def command(workdir, checkpoint_every=1000):
  return [
    'videogpt_jax.main',
    CONFIG,
    f'--workdir={workdir}',
    '--stages=vqvae',
    '--config.vqvae_training.steps=100',
    '--config.vqvae_training.log_every=1',
    f'--config.vqvae_training.checkpoint_every={checkpoint_every}',
    '--config.vqvae_training.evaluate_every=1000',
  ]


def losses(out):
  lines = [line for line in out.splitlines() if ' loss ' in line]
  step = lambda line: int(line.split(' step ')[1].split('/')[0])
  return {step(line): line.split(' loss ')[1] for line in lines}


def begin(command, step):
  """Starts both and returns them, with what the first one has printed up to a step."""
  processes, begun = start_two(command, devices=1), ''
  while f' step {step:3d}/' not in begun:
    begun += processes[0].stdout.readline()
    assert processes[0].poll() is None, processes[0].stderr.read()
  return processes, begun


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """The losses, scores and state of a run of two processes that nothing interrupted."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  [out, _] = finish(start_two(command(workdir), devices=1))
  return losses(out), scores(workdir), state(workdir)


def state(workdir):
  """Every array of the last checkpoint, by item and name."""
  found, folder = {}, epath.Path(workdir / 'vqvae' / 'checkpoints' / '100')
  for item in ('params', 'variables', 'training'):
    handler = ocp.StandardCheckpointHandler()
    stored = handler.metadata(folder / item).tree
    space = {name: np.empty(x.shape, x.dtype) for name, x in stored.items()}
    found[item] = handler.restore(folder / item, args=ocp.args.StandardRestore(space))
    assert len(found[item]) > 3
  return found


def scores(workdir):
  assert (workdir / 'vqvae' / 'checkpoints' / '100').is_dir()
  told = json.loads((workdir / 'metrics.json').read_text())
  assert 0 < told.pop('vqvae_goodput') < 1
  return told


def test_a_notice_to_one_process_stops_both_and_nothing_is_lost(tmp_path, whole):
  processes, begun = begin(command(tmp_path), 2)
  processes[1].send_signal(signal.SIGTERM)
  begun += finish(processes, status=75)[0]
  [resumed, _] = finish(start_two(command(tmp_path), devices=1))
  first, rest = losses(begun), losses(resumed)
  assert max(first) < 100
  assert min(rest) == max(first) + 1
  assert first | rest == whole[0]
  np.testing.assert_equal(scores(tmp_path), whole[1])
  np.testing.assert_equal(state(tmp_path), whole[2])


def test_a_process_that_stops_or_is_killed_ends_the_other_which_names_it(tmp_path, whole):
  """Restarted each time, they end with the same parameters, bit for bit, and the same scores."""
  cut, printed = command(tmp_path, checkpoint_every=20), ''
  for how, step in ((signal.SIGSTOP, 5), (signal.SIGKILL, 45)):
    processes, begun = begin(cut, step)
    printed += begun
    processes[1].send_signal(how)
    before = time.monotonic()
    _, errors = processes[0].communicate(timeout=120)
    assert time.monotonic() - before < 60
    assert processes[0].returncode not in (0, 75)
    gone = r'host \S+ \(process 1\), last in .*(has not answered|is gone)'
    assert re.search(gone, errors), errors
    assert 'the same command on all hosts resumes' in errors
    processes[1].kill()
    processes[1].communicate()
  [resumed, _] = finish(start_two(cut, devices=1))
  assert min(losses(resumed)) == 41
  assert losses(printed) | losses(resumed) == {**whole[0], **losses(resumed)}
  assert all(loss == whole[0][step] for step, loss in losses(resumed).items())
  np.testing.assert_equal(scores(tmp_path), whole[1])
  np.testing.assert_equal(state(tmp_path), whole[2])
  assert not (tmp_path / '.hosts').exists()
