"""What a run needs of its data set, and when."""

import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import pytest
from etils import epath

from tests import tiny_config
from videogpt_jax import input as data
from videogpt_jax import workdir
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.stages import run
from videogpt_jax.training import trackers
from videogpt_jax.training.trackers.config import TrackingConfig

LEGACY = Path(__file__).parents[1] / 'legacy' / 'workdir.zip'


@pytest.fixture
def trained(tmp_path):
  """A workdir whose two models have ended their training."""
  zipfile.ZipFile(LEGACY).extractall(tmp_path)
  config = tmp_path / 'run' / 'config.json'
  values = json.loads(config.read_text())
  values['prior_training']['steps'] = 2  # the checkpoint that the file keeps
  config.write_text(json.dumps(values))
  return epath.Path(tmp_path / 'run')


def test_sampling_without_conditions_of_clips_needs_no_data_set(trained, monkeypatch, capsys):
  def gone(config):
    raise UserError('the data set is gone')

  monkeypatch.setattr(data.contents, 'describe', gone)
  experiment = workdir.read_experiment(trained)
  run.run(experiment, trained, ['sample'])
  assert (trained / 'samples.mp4').exists()
  # A prior of frames asks for held-out clips, and so does every other stage.
  by_frames = dataclasses.replace(experiment.prior, n_cond_frames=1)
  with pytest.raises(UserError, match='the data set is gone'):
    run.run(dataclasses.replace(experiment, prior=by_frames), trained / 'other', ['vqvae', 'prior'])
  with pytest.raises(UserError, match='the data set is gone'):
    run.run(experiment, trained, ['evaluate'])


@pytest.mark.parametrize(('n_codes', 'warns'), [(257, True), (256, False)])
def test_a_codebook_larger_than_a_steps_latents_is_warned_of(
  n_codes, warns, tmp_path, monkeypatch, capsys
):
  """A step of the tiny run has 8 clips of 2x4x4 latents."""

  def stop(*args, **kwargs):
    raise UserError('far enough')

  monkeypatch.setattr(run, 'fit', stop)
  tiny = from_dict(tiny_config.get_config())
  experiment = dataclasses.replace(tiny, vqvae=dataclasses.replace(tiny.vqvae, n_codes=n_codes))
  with pytest.raises(UserError, match='far enough'):
    run.run(experiment, epath.Path(tmp_path / 'run'), ['vqvae'])
  said = 'warning: the codebook has 257 codes and a step 256 latents'
  assert (said in capsys.readouterr().out) == warns


def test_a_tracker_that_is_not_installed_ends_a_run_before_it_trains(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'fit', pytest.fail)
  monkeypatch.setitem(sys.modules, 'mlflow', None)
  monkeypatch.delitem(sys.modules, 'videogpt_jax.training.trackers.mlflow', raising=False)
  monkeypatch.delattr(trackers, 'mlflow', raising=False)
  experiment = from_dict(tiny_config.get_config())
  tracked = dataclasses.replace(experiment, tracking=TrackingConfig(to='mlflow'))
  with pytest.raises(UserError, match='to=mlflow needs mlflow'):
    run.run(tracked, epath.Path(tmp_path / 'run'), ['vqvae'])
