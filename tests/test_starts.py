"""Held-out clips that a model brings along, and samples that begin with them."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import videogpt_jax
from tests import untrained
from tests.test_cli import call
from videogpt_jax import bundle, model_folder, starts
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, write_json
from videogpt_jax.input.config import DatasetConfig

CONDITIONED = {
  'n_classes': 0,
  'action_dim': 2,
  'action_form': 'during',
  'n_cond_frames': 1,
  'resnet_dim': 8,
  'resnet_depth': 18,
}


def export(path, out, said=None, **options):
  say = (lambda line: None) if said is None else said.append
  return bundle.export(str(path), out, bundle.Options(**options), say)


@pytest.fixture(scope='module')
def game(tmp_path_factory):
  """The export of a prior that takes frames and actions, and the recordings of its data."""
  folder = tmp_path_factory.mktemp('game')
  (folder / 'data').mkdir()
  rng = np.random.default_rng(0)
  for i in range(4):
    video = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    actions = rng.normal(size=(6, 2)).astype(np.float32)
    np.savez(folder / f'data/{i}.npz', video=video, actions=actions)
  data = DatasetConfig(
    'folder', str(folder / 'data'), resolution=16, sequence_length=4, test_fraction=0.5
  )
  untrained.make_workdir(folder / 'run', untrained.experiment(data, **CONDITIONED))
  export(folder / 'run', folder / 'out')
  return folder


def test_held_out_clips_come_with_their_actions(game):
  brought = videogpt_jax.load_starts(game / 'out')
  assert brought.frames.shape == (2, 4, 16, 16, 3) and brought.actions.shape == (2, 4, 2)
  recordings = [dict(np.load(file)) for file in (game / 'data').iterdir()]
  for clip, actions in zip(brought.frames, brought.actions, strict=True):
    [found] = [x for x in recordings if (x['video'][:4] == clip).all()]
    np.testing.assert_array_equal(found['actions'][:4], actions)


def test_clips_take_turns_and_actions_begin_anew_in_longer_videos(game):
  config = videogpt_jax.load_videogpt(game / 'out').config
  brought = videogpt_jax.load_starts(game / 'out')
  found = brought.conditions(3, config, n_frames=7)
  assert {name: x.shape for name, x in found.items()} == {
    'frames': (3, 1, 16, 16, 3),
    'actions': (3, 7, 2),
  }
  np.testing.assert_array_equal(found['frames'][2], found['frames'][0])
  np.testing.assert_array_equal(found['actions'][:, 4:], found['actions'][:, :3])
  assert -0.5 <= found['frames'].min() <= found['frames'].max() <= 0.5


def test_a_folder_without_its_data_says_so_and_brings_no_clips(game, tmp_path):
  run, said = shutil.copytree(game / 'run', tmp_path / 'run'), []
  values = read_json(run / 'config.json', {})
  values['dataset']['path'] = str(tmp_path / 'gone')
  write_json(run / 'config.json', values)
  export(run, tmp_path / 'out', said)
  assert [
    line for line in said if 'no starts.safetensors: the held-out clips cannot be read' in line
  ]
  assert videogpt_jax.load_starts(tmp_path / 'out') is None
  export(game / 'run', tmp_path / 'none', starts=0)
  assert not (tmp_path / 'none' / model_folder.STARTS).exists()


def test_too_many_start_frames_are_fewer(game, tmp_path, monkeypatch):
  monkeypatch.setattr(bundle, 'MOST_BYTES', 4 * 16 * 16 * 3)
  said = []
  export(game / 'run', tmp_path / 'out', said)
  assert len(videogpt_jax.load_starts(tmp_path / 'out').frames) == 1
  assert said[0].startswith('1 starts, not 8')
  monkeypatch.setattr(starts, 'MOST_BYTES', 100)
  with pytest.raises(UserError, match='is larger than'):
    videogpt_jax.load_starts(tmp_path / 'out')


def test_sampling_needs_no_data_no_tensorflow_and_no_orbax(game, tmp_path):
  code = 'import runpy, sys; sys.argv[0] = "sample"\n'
  code += 'try:\n  runpy.run_module("videogpt_jax.sample", run_name="__main__")\n'
  code += 'finally: print({"tensorflow", "orbax.checkpoint"} & set(sys.modules))'
  flags = [f'--model={game / "out"}', '--num=3', f'--out={tmp_path / "videos"}']
  done = call('-c', code, *flags)
  assert 'actions and frames: those of the 2 held-out clips that the model brings' in done.stdout
  assert done.stdout.rstrip().endswith('set()'), done.stderr
  noted = json.loads((tmp_path / 'videos' / 'samples.json').read_text())['settings']
  assert noted['brought'] == ['actions', 'frames']


STARTS = {
  'truncated': lambda x: None,
  'no actions': lambda x: x.pop('actions'),
  'other frames': lambda x: x.update(frames=x['frames'][:, :, :8]),
  'no frames': lambda x: x.update(frames=x['frames'][:, :0]),
  'more actions': lambda x: x.update(actions=x['actions'][:1]),
  'floats': lambda x: x.update(frames=x['frames'].astype(np.float32)),
  'infinity': lambda x: x.update(actions=x['actions'] * np.float32('inf')),
}


@pytest.mark.parametrize('case', STARTS)
def test_start_frames_that_are_not_the_models_are_refused(game, tmp_path, case):
  file = shutil.copytree(game / 'out', tmp_path / 'model') / model_folder.STARTS
  arrays = load_file(file)
  STARTS[case](arrays)
  save_file({name: np.ascontiguousarray(x) for name, x in arrays.items()}, file)
  if case == 'truncated':
    file.write_bytes(file.read_bytes()[:-9])
  with pytest.raises(UserError, match=r'starts\.safetensors'):
    videogpt_jax.load_starts(tmp_path / 'model')
