"""The whole command in two processes, and a notice that reaches only one of them."""

import json
import signal

import numpy as np
import pytest

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


def test_a_notice_to_one_process_stops_both_and_nothing_is_lost(tmp_path):
  def command(name):
    return [
      'videogpt_jax.main',
      CONFIG,
      f'--workdir={tmp_path / name}',
      '--stages=vqvae',
      '--config.vqvae_training.steps=100',
      '--config.vqvae_training.log_every=1',
      '--config.vqvae_training.checkpoint_every=1000',
      '--config.vqvae_training.evaluate_every=1000',
    ]

  def losses(out):
    lines = [line for line in out.splitlines() if ' loss ' in line]
    step = lambda line: int(line.split(' step ')[1].split('/')[0])
    return {step(line): line.split(' loss ')[1] for line in lines}

  [whole, _] = finish(start_two(command('whole'), devices=1))
  processes = start_two(command('cut'), devices=1)
  begun = ''
  while ' step   2/' not in begun:
    begun += processes[0].stdout.readline()
  processes[1].send_signal(signal.SIGTERM)
  begun += finish(processes, status=75)[0]
  [resumed, _] = finish(start_two(command('cut'), devices=1))
  first, rest = losses(begun), losses(resumed)
  assert max(first) < 100
  assert min(rest) == max(first) + 1
  assert first | rest == losses(whole)
  for name in ('whole', 'cut'):
    assert (tmp_path / name / 'vqvae' / 'checkpoints' / '100').is_dir()
  scores = [json.loads((tmp_path / name / 'metrics.json').read_text()) for name in ('whole', 'cut')]
  np.testing.assert_equal(scores[0], scores[1])
