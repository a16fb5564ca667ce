"""A workdir in a bucket: its address stays one, and files are written through its interface."""

import os
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from etils.epath import backend, gpath

from tests import tiny_config
from videogpt_jax import media, workdir
from videogpt_jax.config import from_dict
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.logging import record_metrics


class Bucket:
  """Stands in for a bucket: gs://NAME is the folder NAME below a root; only addresses are taken."""

  def __init__(self, root: Path):
    self.root = root

  def __getattr__(self, name):
    def call(*args, **kwargs):
      args = [self._local(a) if isinstance(a, str | os.PathLike) else a for a in args]
      return getattr(backend.os_backend, name)(*args, **kwargs)

    return call

  def open(self, path, mode):
    return open(self._local(path), mode)

  def _local(self, path):
    address = os.fspath(path)
    assert address.startswith('gs://'), address
    return str(self.root / address.removeprefix('gs://'))


@pytest.fixture
def bucket(tmp_path, monkeypatch):
  (tmp_path / 'bucket').mkdir()
  monkeypatch.setattr(gpath, '_is_tf_installed', lambda: False)
  monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, 'gs', Bucket(tmp_path))
  return tmp_path / 'bucket'


def test_a_bucket_can_be_a_workdir(bucket):
  path, experiment = epath.Path('gs://bucket/runs/1'), from_dict(tiny_config.get_config())
  workdir.claim(path, experiment)
  workdir.claim(path, experiment)
  assert workdir.read_experiment(path) == experiment
  workdir.write_class_names(path, ['a', 'b'])
  assert workdir.class_names(path, 2) == ['a', 'b']
  record_metrics(path, {'psnr': 20})
  workdir.mark_finished(path, experiment, 'sample')
  assert workdir.is_finished(path, experiment, 'sample')
  assert not workdir.is_finished(path, experiment, 'vqvae')
  clip = np.zeros((2, 6, 6, 3), np.uint8)
  media.write_gif(path / 'a.gif', clip, 8)
  media.write_mp4(path / 'a.mp4', clip, 8)
  written = {file.name for file in (bucket / 'runs' / '1').iterdir()}
  assert written == {
    'config.json',
    'classes.json',
    'metrics.json',
    'finished.json',
    'a.gif',
    'a.mp4',
  }
  assert (bucket / 'runs' / '1' / 'a.gif').read_bytes().startswith(b'GIF89a')


def test_orbax_is_given_the_address_of_a_bucket_as_it_is(monkeypatch):
  given = []
  monkeypatch.setattr(
    'orbax.checkpoint.CheckpointManager', lambda directory, **_: given.append(directory)
  )
  Checkpoints(workdir.checkpoints_of(epath.Path('gs://bucket/run'), 'vqvae'))
  Checkpoints('here/run')
  assert list(map(str, given)) == [
    'gs://bucket/run/vqvae/checkpoints',
    str(Path.cwd() / 'here/run'),
  ]
