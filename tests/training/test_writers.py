"""Writers in the background: order is kept, failures are told of once, nothing waits for long."""

import threading

import numpy as np
import pytest

from videogpt_jax.training import writers
from videogpt_jax.training.writers import Background, OfStage, Several

VIDEO = np.zeros((2, 3, 4, 4, 3), np.uint8)


class Kept:
  """Keeps what it is told."""

  def __init__(self):
    self.told = []

  def write_scalars(self, step, scalars):
    self.told.append((step, scalars))

  def write_videos(self, step, videos):
    self.told.append((step, list(videos)))

  def close(self, failed=False):
    self.told.append(('closed', failed))


class Broken(Kept):
  """Loses its network at step 2."""

  def write_scalars(self, step, scalars):
    super().write_scalars(step, scalars)
    if step == 2:
      raise ConnectionError('no route\nto host')


def test_everything_arrives_in_order_under_the_name_of_its_stage():
  one, other = Kept(), Kept()
  background = Background('one', one, warn=pytest.fail)
  log = Several([OfStage(background, 'vqvae'), other])
  figures = {'train/loss': 0.5}
  for step in range(1, 50):
    log.write_scalars(step, figures)
  log.write_videos(50, {'reconstructions': VIDEO})
  figures['train/loss'] = 9.0  # what has been written stays as it was
  log.close()
  assert ('closed', False) not in one.told  # the run goes on with another stage
  background.close(failed=True)
  assert one.told == [
    *((step, {'vqvae/train/loss': 0.5}) for step in range(1, 50)),
    (50, ['vqvae/reconstructions']),
    ('closed', True),
  ]
  assert other.told[-2:] == [(50, ['reconstructions']), ('closed', False)]


def test_a_writer_that_fails_is_told_of_once_and_left_alone():
  warned, broken = [], Broken()
  background = Background('mlflow', broken, warned.append)
  for step in range(1, 9):
    background.write_scalars(step, {'loss': 1.0})
  background.close()
  assert [step for step, _ in broken.told] == [1, 2]
  assert warned == ['mlflow gets no figures any more (no route to host); training goes on']


def test_a_writer_that_hangs_holds_nothing_up(monkeypatch):
  warned, gate = [], threading.Event()
  hanging = Kept()
  hanging.write_scalars = lambda step, scalars: gate.wait(60)
  monkeypatch.setattr(writers, 'PATIENCE', 0.2)
  monkeypatch.setattr(writers, 'MOST_WAITING', 10)
  background = Background('wandb', hanging, warned.append)
  for step in range(100):
    background.write_scalars(step, {'loss': 1.0})
  background.close()
  gate.set()
  assert warned == ['wandb gets no figures any more (10 writes wait for it); training goes on']


def test_what_is_not_taken_until_the_end_is_told_of(monkeypatch):
  warned, gate = [], threading.Event()
  hanging = Kept()
  hanging.write_scalars = lambda step, scalars: gate.wait(60)
  monkeypatch.setattr(writers, 'PATIENCE', 0.2)
  background = Background('wandb', hanging, warned.append)
  background.write_scalars(1, {'loss': 1.0})
  background.close()
  gate.set()
  assert len(warned) == 1 and 'has not taken everything within' in warned[0]
