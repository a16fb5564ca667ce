"""A workdir in a bucket: its address stays one, and files are written through its interface."""

import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from tests import tiny_config
from videogpt_jax import media, workdir
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.logging import record_metrics


class Buckets(MemoryFileSystem):
  """Stands in for Google's buckets, with files in memory."""

  protocol = ('gs', 'gcs')
  store, pseudo_dirs = {}, ['']

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(os.fspath(path).removeprefix('gs:/'))


fsspec.register_implementation('gcs', Buckets, clobber=True)


def test_a_bucket_can_be_a_workdir():
  path, experiment = epath.Path('gs://bucket/runs/1'), from_dict(tiny_config.get_config())
  workdir.claim(path, experiment)
  workdir.claim(path, experiment)
  assert workdir.read_experiment(path) == experiment
  workdir.write_names(path, 'classes', ['a', 'b'])
  assert workdir.names(path, 'classes') == ('a', 'b')
  assert workdir.names(path, 'actions') == ()
  record_metrics(path, {'psnr': 20})
  workdir.mark_finished(path, experiment, 'sample')
  assert workdir.is_finished(path, experiment, 'sample')
  assert not workdir.is_finished(path, experiment, 'vqvae')
  clip = np.zeros((2, 6, 6, 3), np.uint8)
  media.write_gif(path / 'a.gif', clip, 8)
  media.write_mp4(path / 'a.mp4', clip, 8)
  written = ['a.gif', 'a.mp4', 'classes.json', 'config.json', 'finished.json', 'metrics.json']
  assert sorted(Buckets.store) == [f'/bucket/runs/1/{name}' for name in written]
  assert Buckets.store['/bucket/runs/1/a.gif'].getvalue().startswith(b'GIF89a')
  assert not Path('gs:').exists()


def test_orbax_is_given_the_address_of_a_bucket_as_it_is(monkeypatch, tmp_path):
  given = []
  monkeypatch.chdir(tmp_path)
  Path('here/run').mkdir(parents=True)
  monkeypatch.setattr(
    'orbax.checkpoint.CheckpointManager', lambda directory, **_: given.append(directory)
  )
  Checkpoints(workdir.checkpoints_of(epath.Path('gs://bucket/run'), 'vqvae'))
  Checkpoints('here/run')
  assert list(map(str, given)) == [
    'gs://bucket/run/vqvae/checkpoints',
    str(Path.cwd() / 'here/run'),
  ]


def test_a_bucket_that_fails_is_told_of_in_one_line(monkeypatch):
  path, experiment = epath.Path('gs://failing/run'), from_dict(tiny_config.get_config())
  workdir.claim(path, experiment)

  def fail(*arguments, **options):
    raise OSError('503, try again later')

  monkeypatch.setattr(Buckets, '_open', fail)
  for write in (
    lambda: workdir.claim(path, experiment),
    lambda: record_metrics(path, {'psnr': 20}),
    lambda: workdir.mark_finished(path, experiment, 'sample'),
    lambda: media.write_gif(path / 'a.gif', np.zeros((2, 6, 6, 3), np.uint8), 8),
  ):
    with pytest.raises(UserError, match=r'/run/.*503, try again later'):
      write()
  monkeypatch.undo()
  assert workdir.read_experiment(path) == experiment


def test_the_checkpoint_in_use_is_told_the_best_where_one_is_kept(tmp_path):
  for folder in ('vqvae/checkpoints/4', 'prior/checkpoints/9', 'prior/best/7'):
    (tmp_path / folder).mkdir(parents=True)
  assert workdir.in_use(epath.Path(tmp_path)) == [
    'vqvae: the last checkpoint, step 4',
    'prior: the best checkpoint, step 7',
  ]
  assert workdir.in_use(epath.Path(tmp_path / 'model.ckpt')) == []
