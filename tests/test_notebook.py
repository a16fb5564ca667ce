"""What the notebooks share: commands in a cell, and clips to begin with."""

import base64
import dataclasses
import io
import os
import signal
import threading
import time

import av
import numpy as np
import pytest
from etils import epath
from IPython.core.interactiveshell import InteractiveShell

from tests import untrained
from tests.conftest import QUICK
from videogpt_jax import media, notebook, page, workdir
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.starts import Starts


def test_what_a_command_refuses_is_the_cells_error_in_one_line(capsys):
  with pytest.raises(UserError, match=r'^--config: there is no file none; names are ') as told:
    notebook.run('inspect_data', '--config=none')
  assert '\n' not in str(told.value)
  assert 'error: --config: there is no file none' in capsys.readouterr().out


def test_a_cell_shows_a_users_error_in_one_line(capsys):
  shell = InteractiveShell()
  shell.run_cell('from videogpt_jax.errors import UserError\nraise UserError("a (1)\\n  is bad")')
  assert capsys.readouterr().out.strip() == 'error: a (1) is bad'
  shell.run_cell('raise ValueError("a fault of the program")')
  assert 'Traceback' in capsys.readouterr().out


def test_it_is_said_what_jax_runs_on(monkeypatch, capsys):
  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.setattr('videogpt_jax.machine.slim_tensorflow', lambda: None)  # for good, it does
  notebook.announce()
  first, second = capsys.readouterr().out.splitlines()
  assert first.endswith(' on 1 x cpu') and second.startswith('No accelerator: everything works')
  monkeypatch.setenv('JAX_PLATFORMS', 'none')
  with pytest.raises(UserError, match=r'^JAX does not start: .*none'):
    notebook.announce()


def test_gifs_of_a_report_become_videos_of_fewer_bytes(tmp_path):
  video = np.random.default_rng(0).integers(0, 256, (5, 32, 40, 3)).astype(np.uint8)
  video = video.repeat(3, axis=1).repeat(3, axis=2)
  media.write_gif(epath.Path(tmp_path / 'a.gif'), video, 8)
  figure = page.image(epath.Path(tmp_path / 'a.gif'), 'caption', 'what <it> shows')
  found = notebook.lighter(f'<p>{figure}</p>')
  head, data = found.split('src="data:video/mp4;base64,')
  assert head.startswith('<p><figure><video ') and 'aria-label="what &lt;it&gt; shows"' in head
  assert '<img' not in found and found.endswith('<figcaption>caption</figcaption></figure></p>')
  with av.open(io.BytesIO(base64.b64decode(data.partition('"')[0]))) as container:
    frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
  assert np.abs(np.float32(frames) - video).mean() < 30  # of noise in 256 colours
  assert notebook.lighter('<p>nothing</p>') == '<p>nothing</p>'


@pytest.fixture(scope='module')
def played(tmp_path_factory):
  """An experiment on recordings with actions, a model of it and its workdir."""
  folder, rng = tmp_path_factory.mktemp('played'), np.random.default_rng(0)
  (folder / 'data').mkdir()
  for i in range(4):
    video = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    np.savez(folder / f'data/{i}.npz', video=video, actions=rng.normal(size=(6, 2)))
  data = DatasetConfig(
    'folder', str(folder / 'data'), resolution=16, sequence_length=4, test_fraction=0.5
  )
  of = untrained.experiment(data, n_classes=0, action_dim=2)
  return of, untrained.make_model(of), untrained.make_workdir(folder / 'run', of)


def test_a_run_begins_with_held_out_clips_of_its_data(played):
  _, model, path = played
  found = notebook.starts(str(path), 3)
  assert found.frames.shape == (2, 4, 16, 16, 3) and found.actions.shape == (2, 4, 2)
  given = notebook.conditions(model, found, 3, n_frames=6)
  assert given.keys() == {'actions'} and given['actions'].shape == (3, 6, 2)
  np.testing.assert_array_equal(given['actions'][:2, :4], found.actions)


def test_without_its_data_a_run_begins_with_nothing_and_says_so(played, tmp_path, capsys):
  of, _, _ = played
  gone = dataclasses.replace(of.dataset, path=str(tmp_path / 'gone'))
  path = untrained.make_workdir(tmp_path / 'run', dataclasses.replace(of, dataset=gone))
  assert notebook.starts(str(path), 3) is None
  assert capsys.readouterr().out.startswith('no clips to begin with: ')


def test_an_action_by_name_or_number_holds_for_all_frames(played):
  _, model, path = played
  clips = notebook.starts(str(path), 2)
  named = dataclasses.replace(model, action_names=('left', 'right'))
  for of, action in ((model, '1'), (named, '1'), (named, 'right')):
    found = notebook.conditions(of, clips, 3, n_frames=5, action=action)['actions']
    np.testing.assert_array_equal(found, np.broadcast_to(np.float32([0, 1]), (3, 5, 2)))
  with pytest.raises(UserError, match="action 'up' is unknown; actions are left, right"):
    notebook.conditions(named, clips, 1, action='up')
  with pytest.raises(UserError, match='actions are none'):
    notebook.conditions(untrained.make_model(untrained.experiment()), None, 1, action='0')


def test_classes_take_turns_where_clips_bring_no_frames():
  model = untrained.make_model(untrained.experiment(n_classes=3))
  clips = Starts(np.zeros((1, 4, 16, 16, 3), np.uint8), class_label=np.int32([2]))
  assert notebook.conditions(model, clips, 4)['class_label'].tolist() == [0, 1, 2, 0]


def test_without_clips_classes_take_turns_and_the_rest_is_zeros(played):
  _, model, _ = played
  given = notebook.conditions(model, None, 2, n_frames=9)
  np.testing.assert_array_equal(given['actions'], np.zeros((2, 9, 2)))
  classes = untrained.make_model(untrained.experiment(n_classes=3))
  given = notebook.conditions(classes, None, 5)
  assert given.keys() == {'class_label'} and given['class_label'].tolist() == [0, 1, 2, 0, 1]


@pytest.mark.slow
def test_stopping_the_cell_saves_and_the_same_cell_goes_on(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('XLA_FLAGS', QUICK)
  path, steps = tmp_path / 'run', 1000
  flags = ['--config=tests/tiny_config.py', '--stages=vqvae', f'--workdir={path}']
  keys = ('steps', 'evaluate_every', 'checkpoint_every')
  flags += [f'--config.vqvae_training.{key}={steps}' for key in keys]

  def stop():
    while not (path / 'vqvae' / 'history.json').exists():
      time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)  # as a notebook's stop button

  threading.Thread(target=stop, daemon=True).start()
  with pytest.raises(UserError, match='the same command goes on from there'):
    notebook.run('main', *flags)
  done, _ = workdir.steps_done(path, 'vqvae')
  assert 0 < done < steps
  capsys.readouterr()
  notebook.run('main', *flags)
  told = capsys.readouterr().out
  assert f'{steps}/{steps}' in told and f' 1/{steps}' not in told
  assert workdir.is_trained(path, 'vqvae')
