"""Held-out clips that a model brings along, and samples that begin with them."""

import dataclasses
import json
import pathlib
import shutil
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import videogpt_jax
from configs.tokenizers import CAUSAL
from tests import untrained
from tests.test_cli import call
from videogpt_jax import bundle, model_folder, pixels, starts
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.server import scenes
from videogpt_jax.videogpt import VideoGPT


class Game(NamedTuple):
  folder: pathlib.Path
  of: Experiment
  model: VideoGPT

  @property
  def out(self):
    return self.folder / 'out'


CONDITIONED = {
  'n_classes': 0,
  'action_dim': 2,
  'action_form': 'during',
  'n_cond_frames': 1,
  'resnet_dim': 8,
  'resnet_depth': 18,
}


def brought(model, of, said, n=8):
  return bundle.held_out_starts(model, of, bundle.Options(starts=n), said.append)


@pytest.fixture(scope='module')
def game(tmp_path_factory):
  """Recordings with actions, an experiment on them, its models, and their export."""
  folder = tmp_path_factory.mktemp('game')
  (folder / 'data').mkdir()
  (folder / 'out').mkdir()
  rng = np.random.default_rng(0)
  for i in range(4):
    video = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    actions = rng.normal(size=(6, 2)).astype(np.float32)
    np.savez(folder / f'data/{i}.npz', video=video, actions=actions)
  data = DatasetConfig(
    'folder', str(folder / 'data'), resolution=16, sequence_length=4, test_fraction=0.5
  )
  of = untrained.experiment(data, **CONDITIONED)
  model = untrained.make_model(of)
  model_folder.write(folder / 'out', model)
  starts.write_starts(folder / 'out' / model_folder.STARTS, brought(model, of, []))
  return Game(folder, of, model)


def test_held_out_clips_come_with_their_actions(game):
  found = videogpt_jax.load_starts(game.out)
  assert found.frames.shape == (2, 4, 16, 16, 3) and found.actions.shape == (2, 4, 2)
  recordings = [dict(np.load(file)) for file in (game.folder / 'data').iterdir()]
  for clip, actions in zip(found.frames, found.actions, strict=True):
    [whole] = [x for x in recordings if (x['video'][:4] == clip).all()]
    np.testing.assert_array_equal(whole['actions'][:4], actions)


def test_clips_take_turns_and_actions_begin_anew_in_longer_videos(game):
  config = videogpt_jax.load_videogpt(game.out).config
  found = videogpt_jax.load_starts(game.out).conditions(3, config, n_frames=7)
  assert {name: x.shape for name, x in found.items()} == {
    'frames': (3, 1, 16, 16, 3),
    'actions': (3, 7, 2),
  }
  np.testing.assert_array_equal(found['frames'][2], found['frames'][0])
  np.testing.assert_array_equal(found['actions'][:, 4:], found['actions'][:, :3])
  assert -0.5 <= found['frames'].min() <= found['frames'].max() <= 0.5


def test_without_the_data_a_line_says_so_and_no_clips_are_brought(game):
  gone = dataclasses.replace(game.of.dataset, path=str(game.folder / 'gone'))
  noise = DatasetConfig('random', resolution=16, sequence_length=4)
  for data, message in (
    (gone, 'no starts.safetensors: the held-out clips cannot be read: '),
    (noise, 'no starts.safetensors: the run states noise as its data set'),
  ):
    said = []
    assert brought(game.model, dataclasses.replace(game.of, dataset=data), said) is None
    assert len(said) == 1 and said[0].startswith(message)
  assert brought(game.model, game.of, [], n=0) is None
  assert brought(game.model.vqvae, game.of, []) is None


def test_too_many_start_frames_are_fewer(game, monkeypatch):
  monkeypatch.setattr(bundle, 'MOST_BYTES', 4 * 16 * 16 * 3)
  said = []
  assert len(brought(game.model, game.of, said).frames) == 1
  assert said[0].startswith('1 starts, not 8')
  monkeypatch.setattr(starts, 'MOST_BYTES', 100)
  with pytest.raises(UserError, match='is larger than'):
    videogpt_jax.load_starts(game.out)


def test_sampling_needs_no_data_no_tensorflow_and_no_orbax(game, tmp_path):
  code = 'import runpy, sys; sys.argv[0] = "sample"\n'
  code += 'try:\n  runpy.run_module("videogpt_jax.sample", run_name="__main__")\n'
  code += 'finally: print({"tensorflow", "orbax.checkpoint"} & set(sys.modules))'
  flags = [f'--model={game.out}', '--num=3', f'--out={tmp_path / "videos"}']
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
  file = shutil.copytree(game.out, tmp_path / 'model') / model_folder.STARTS
  arrays = load_file(file)
  STARTS[case](arrays)
  save_file({name: np.ascontiguousarray(x) for name, x in arrays.items()}, file)
  if case == 'truncated':
    file.write_bytes(file.read_bytes()[:-9])
  with pytest.raises(UserError, match=r'starts\.safetensors'):
    videogpt_jax.load_starts(tmp_path / 'model')


def test_a_world_can_begin_with_the_clips_that_an_export_brings(game):
  found = scenes.of_model(game.out)
  brought = videogpt_jax.load_starts(game.out)
  assert [scene.name for scene in found] == ['held-out clip 1', 'held-out clip 2']
  np.testing.assert_array_equal(found[1].actions, brought.actions[1])
  np.testing.assert_array_equal(found[1].frames, pixels.to_model_range(brought.frames[1]))


def test_a_model_that_is_played_brings_clips_with_their_classes(game, tmp_path):
  of = untrained.experiment(attn_type='window', attn_window=2, positions='rotary')
  of = dataclasses.replace(of, vqvae=dataclasses.replace(of.vqvae, **CAUSAL))
  untrained.make_workdir(tmp_path / 'run', of)
  bundle.export(str(tmp_path / 'run'), tmp_path / 'out', bundle.Options(starts=2), print)
  card = (tmp_path / 'out' / 'README.md').read_text()
  assert 'brings 2 held-out clips.' in card and 'videogpt play --model=' in card
  brought = videogpt_jax.load_starts(tmp_path / 'out')
  played = [(scene.class_label, len(scene.frames)) for scene in scenes.of_model(tmp_path / 'out')]
  assert played == [(label, of.dataset.sequence_length) for label in brought.class_label]


def test_an_export_of_a_run_brings_clips(game, tmp_path):
  """The prior takes actions alone, and so has few arrays to save."""
  of = untrained.experiment(game.of.dataset, n_classes=0, action_dim=2, action_form='during')
  untrained.make_workdir(tmp_path / 'run', of)
  for source, out in (('run', 'out'), ('out', 'again')):
    files = bundle.export(str(tmp_path / source), tmp_path / out, bundle.Options(), print)
    assert tmp_path / out / model_folder.STARTS in files
    assert 'brings 2 held-out clips' in (tmp_path / out / 'README.md').read_text()
  first, again = (videogpt_jax.load_starts(tmp_path / name) for name in ('out', 'again'))
  np.testing.assert_array_equal(first.frames, again.frames)
  np.testing.assert_array_equal(first.actions, again.actions)
