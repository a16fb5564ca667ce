"""Runs on files as people have them: ten steps on each layout, and the whole job with actions."""

import dataclasses
import json

import av
import jax
import pytest
from etils.epath import Path

from tests import tiny_config
from tests.input.shared_inputs import INPUTS, needs_inputs
from tests.input.test_layouts import SHARED
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.stages.run import STAGES, run

pytestmark = [needs_inputs, pytest.mark.slow]


@pytest.fixture(scope='module', autouse=True)
def _compiled_once(tmp_path_factory):
  """Keeps the compiled train step, which all layouts share."""
  settings = {
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
    'jax_persistent_cache_min_compile_time_secs': 0,
  }
  before = {name: getattr(jax.config, name) for name in settings}
  for name, value in settings.items():
    jax.config.update(name, value)
  yield
  for name, value in before.items():
    jax.config.update(name, value)


def _experiment(name, **prior):
  tiny = from_dict(tiny_config.get_config())
  dataset = DatasetConfig('folder', str(INPUTS / name), resolution=16, sequence_length=4)
  training = dataclasses.replace(
    tiny.vqvae_training, steps=10, evaluate_every=10, checkpoint_every=10
  )
  return dataclasses.replace(
    tiny,
    dataset=dataset,
    vqvae_training=training,
    prior_training=training,
    prior=dataclasses.replace(tiny.prior, **{'n_classes': 0} | prior),
  )


@pytest.mark.parametrize('name', [*SHARED, 'lerobot_v3'])
def test_ten_steps_on_every_layout(name, tmp_path):
  run(_experiment(name), Path(tmp_path / 'run'), ['vqvae'])
  metrics = json.loads((tmp_path / 'run/metrics.json').read_text())
  assert 5 < metrics['reconstruction_psnr'] < 60


def test_the_whole_job_with_actions_and_classes(tmp_path):
  experiment = _experiment('lerobot_v3', action_dim=4, n_classes=2)
  run(experiment, Path(tmp_path / 'run'), STAGES)
  with av.open(str(tmp_path / 'run/samples.mp4')) as container:
    assert container.streams.video[0].average_rate == 10  # LeRobot's own
  flipped = dataclasses.replace(experiment.dataset, random_flip=True)
  with pytest.raises(UserError, match=r'random_flip mirrors clips.*dataset\.mirror_actions'):
    run(dataclasses.replace(experiment, dataset=flipped), Path(tmp_path / 'other'), STAGES)
