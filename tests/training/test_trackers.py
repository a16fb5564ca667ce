"""Real trackers without a network: one run a workdir, with all figures of every start.

Each is skipped where its library is not installed.
"""

import functools
import json
import os
import pathlib
import re
import sqlite3
import struct
import sys

import numpy as np
import pytest
from etils.epath import Path

import videogpt_jax.training.trackers
from videogpt_jax.errors import UserError
from videogpt_jax.training.clock import PARTS
from videogpt_jax.training.logging import RunLog
from videogpt_jax.training.trackers import opened
from videogpt_jax.training.trackers.config import LIBRARIES, TrackingConfig
from videogpt_jax.training.writers import OfStage

SETTINGS = {'seed': 3, 'vqvae': {'downsample': (4, 4, 4), 'n_codes': 11}}

VIDEO = np.linspace(-0.5, 0.5, 2 * 3 * 8 * 8 * 3, dtype=np.float32).reshape(2, 3, 8, 8, 3)


def project(path):
  """Each test's own, since trackio has one folder for all of them."""
  return path.parent.name


def track(path, library, stage, losses, settings=SETTINGS, fails=False):
  """Trains a stage in name, and tells of it what a run tells."""
  config = TrackingConfig(to=library, project=project(path), run='digits')
  with opened(config, Path(path), 'demo', settings, warn=pytest.fail) as writers:
    with RunLog(stage, 9, Path(path), trackers=writers) as log:
      for step, loss in losses.items():
        log.progress(step, {'loss': loss})
      log.videos(step, {'reconstructions': VIDEO})
      log.times(step, {**dict.fromkeys(PARTS, 0.0), 'steps': 3.0, 'data': 1.0}, ended=True)
    OfStage(writers[0], 'figures').write_scalars(0, {'fvd': 123.5})
    if fails:
      raise UserError('the disk is full')


@pytest.fixture(scope='module')
def trackio_dir(tmp_path_factory):
  """Where trackio writes, which asks for it when it is imported."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('TRACKIO_DIR', str(tmp_path_factory.mktemp('trackio')))
    yield
    for name in [name for name in sys.modules if name.split('.')[0] == 'trackio']:
      patch.delitem(sys.modules, name)


@pytest.fixture(params=LIBRARIES)
def library(request, tmp_path, monkeypatch, trackio_dir):
  """The name of a tracker that writes to this machine alone."""
  pytest.importorskip(request.param)
  (tmp_path / 'store').mkdir()
  monkeypatch.chdir(tmp_path / 'store')
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_SILENT', 'true')
  monkeypatch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{tmp_path / "store" / "mlflow.db"}')
  return request.param


def wandb_records(file):
  """Yields what an offline run of W&B holds: records cut into blocks of 32 KiB, as LevelDB's."""
  from wandb.proto import wandb_internal_pb2

  data, at, parts = file.read_bytes(), 7, b''
  while at + 7 <= len(data):
    if (left := 2**15 - at % 2**15) < 7:
      at += left
      continue
    size, kind = struct.unpack('<HB', data[at + 4 : at + 7])
    parts, at = parts + data[at + 7 : at + 7 + size], at + 7 + size
    if kind in (1, 4):  # whole, or the last part
      yield wandb_internal_pb2.Record.FromString(parts)
      parts = b''


def read_wandb(path):
  figures, settings, videos, ends, ids = {}, {}, 0, [], set()
  for file in sorted(path.glob('wandb/offline-run-*/*.wandb')):
    for record in wandb_records(file):
      row = {
        '/'.join(item.nested_key) or item.key: json.loads(item.value_json)
        for item in record.history.item
      }
      for name, value in row.items():
        if name.split('/')[-1] != 'step' and isinstance(value, float | int) and name[0] != '_':
          figures.setdefault(name, {})[row[f'{name.split("/")[0]}/step']] = value
      if record.HasField('run'):
        ids.add(record.run.run_id)
        settings |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
      if record.HasField('exit'):
        ends.append('failed' if record.exit.exit_code else 'finished')
  videos = len(list(path.glob('wandb/offline-run-*/files/media/**/*.gif')))
  seed, codes = settings['seed'], settings['vqvae']['n_codes']
  return figures, (seed, codes), videos, ends, ids


def read_mlflow(path):
  import mlflow

  client = mlflow.MlflowClient()
  runs = client.search_runs([client.get_experiment_by_name(project(path)).experiment_id])
  (run,) = runs
  assert run.info.run_name == 'digits'
  figures = {
    name: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
    for name in run.data.metrics
  }
  settings = int(run.data.params['seed']), int(run.data.params['vqvae.n_codes'])
  videos = sum(len(client.list_artifacts(run.info.run_id, s)) for s in ('vqvae', 'prior'))
  return figures, settings, videos, [run.info.status.lower()], {run.info.run_id}


def read_trackio(path):
  store = pathlib.Path(os.environ['TRACKIO_DIR'])
  with sqlite3.connect(store / f'{project(path)}.db') as db:
    rows = db.execute('select run_name, step, metrics from metrics').fetchall()
    ((config,),) = db.execute('select config from configs').fetchall()
  figures = {}
  for _, step, values in rows:
    for name, value in json.loads(values).items():
      if isinstance(value, float | int):
        figures.setdefault(name, {})[step] = value
  settings = json.loads(config)
  videos = len(list((store / 'media' / project(path)).rglob('*.gif')))
  return (
    figures,
    (settings['seed'], settings['vqvae']['n_codes']),
    videos,
    None,
    {name for name, _, _ in rows},
  )


READERS = {'wandb': read_wandb, 'mlflow': read_mlflow, 'trackio': read_trackio}


def test_one_run_holds_the_figures_of_every_start(library, tmp_path):
  path = tmp_path / 'run'
  path.mkdir()
  start = functools.partial(track, path, library)
  with pytest.raises(UserError):
    start('vqvae', {1: 8.0, 2: 4.0, 3: 2.0}, fails=True)
  start('vqvae', {3: 2.5, 4: 1.0})  # step 3 is done again
  start('prior', {1: 7.0, 2: 6.0})
  figures, settings, videos, ends, ids = READERS[library](path)
  assert figures['vqvae/train/loss'] == {1: 8.0, 2: 4.0, 3: 2.5, 4: 1.0}
  assert figures['prior/train/loss'] == {1: 7.0, 2: 6.0}
  assert figures['vqvae/time/goodput'] == {3: 0.75, 4: 0.75}
  assert figures['prior/time/goodput'] == {2: 0.75}
  assert figures['figures/fvd'] == {0: 123.5}
  assert settings == (3, 11) and videos == 3
  assert ends in (None, ['finished'], ['failed', 'finished', 'finished'])
  assert len(ids) == 1
  known = json.loads((path / 'tracking.json').read_text())
  assert list(known) == [f'{library}:{project(path)}'] and known[
    f'{library}:{project(path)}'
  ] in next(iter(ids))


def test_another_workdir_is_another_run_and_more_steps_are_the_same(library, tmp_path):
  names = []
  for name in ('one', 'other', 'one'):
    path = tmp_path / name
    path.mkdir(exist_ok=True)
    track(path, library, 'vqvae', {1: 8.0}, SETTINGS | {'seed': len(names)})
    names.append(json.loads((path / 'tracking.json').read_text())[f'{library}:{project(path)}'])
  assert names[0] == names[2] != names[1]


@pytest.mark.parametrize('name', LIBRARIES)
def test_a_missing_library_names_its_extra_before_any_tracker_is_asked(name, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
  monkeypatch.delitem(sys.modules, f'videogpt_jax.training.trackers.{name}', raising=False)
  monkeypatch.delattr(videogpt_jax.training.trackers, name, raising=False)
  line = f"tracking.to={name} needs {name}: pip install '.[{name}]'"
  with (
    pytest.raises(UserError, match=re.escape(line)),
    opened(TrackingConfig(to=name), Path(tmp_path), 'demo', {}, pytest.fail),
  ):
    pytest.fail('it was opened')
  assert not list(tmp_path.iterdir())


def test_a_tracker_that_does_not_start_is_one_line(library, tmp_path, monkeypatch):
  module = getattr(videogpt_jax.training.trackers, library)

  def refuse(run):
    raise OSError('no key\nfor the server')

  monkeypatch.setattr(module, 'Writer', refuse)
  with (
    pytest.raises(UserError, match=rf'tracking.to: {library} does not start \(no key for the'),
    opened(TrackingConfig(to=library), Path(tmp_path), 'demo', {}, pytest.fail),
  ):
    pytest.fail('it was opened')


@pytest.mark.parametrize(
  ('values', 'said'),
  [({'to': 'wandb,tensorbord'}, r"to \('wandb,tensorbord'\) must name some of wandb, mlflow"),
   ({'to': 'wandb', 'project': ''}, 'project .* must not be empty')],
)  # fmt: skip
def test_settings_are_checked(values, said):
  with pytest.raises(UserError, match=said):
    TrackingConfig(**values)
  assert TrackingConfig(to=' wandb, mlflow,wandb').libraries == ('wandb', 'mlflow')
