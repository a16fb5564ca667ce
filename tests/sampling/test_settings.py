"""One set of sampling settings, whoever states it: nothing is lost on the way."""

import dataclasses
import inspect

import numpy as np
import pytest

from tests.test_generation import videogpt
from videogpt_jax import sample
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import model_sets
from videogpt_jax.evaluation.protocols import PROTOCOLS
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.settings import SampleConfig, SamplingSettings
from videogpt_jax.stages import score

NAMES = {field.name for field in dataclasses.fields(SamplingSettings)}
OTHER = SamplingSettings(
  temperature=0.7,
  top_k=5,
  top_p=0.9,
  guidance=2.0,
  best_of=3,
  num_frames=8,
  strategy='masked',
  passes=3,
)


def test_the_settings_of_these_tests_are_no_defaults():
  changed = {name for name in NAMES if getattr(OTHER, name) != getattr(SamplingSettings(), name)}
  assert changed == NAMES


def test_flags_state_every_setting():
  assert {flag.name for flag in sample._SETTINGS} == NAMES | {'num', 'fps'}


def test_a_configuration_states_every_setting():
  conditional = PriorConfig(n_classes=10, cond_dropout=0.1, target='masked')
  values = Experiment(
    prior=conditional, sample=SampleConfig(num=3, **dataclasses.asdict(OTHER))
  ).to_config_dict()
  assert from_dict(values).sample.settings == OTHER


def test_python_keywords_state_every_setting():
  gpt = videogpt(n_classes=3, cond_dropout=0.1)
  request = gpt.request(2, class_label=1, **dataclasses.asdict(OTHER))
  assert request.settings == OTHER
  assert gpt.request(2, class_label=1, settings=SampleConfig(**vars(OTHER))).settings == OTHER
  with pytest.raises(UserError, match='not both'):
    gpt.request(2, class_label=1, settings=OTHER, top_k=3)
  assert not NAMES & set(inspect.signature(gpt.request).parameters)


def test_scores_sample_with_every_setting_but_the_length(tmp_path):
  conditional = PriorConfig(n_classes=10, cond_dropout=0.1, target='masked')
  config = SampleConfig(**dataclasses.asdict(OTHER))
  experiment = dataclasses.replace(Experiment(), prior=conditional, sample=config)
  settings = score._settings(experiment)
  assert settings == dataclasses.replace(OTHER, num_frames=0)
  asked = []

  class Generator:
    config, digest, vqvae = conditional, '0', None

    def sample(self, n, **arguments):
      asked.append(arguments['settings'])
      return np.zeros((n, 4, 8, 8, 3))

  clips = np.zeros((2, 4, 8, 8, 3), np.uint8)
  batch = {'video': clips, 'label': np.zeros(2, np.int32)}
  drawing = model_sets.Drawing(PROTOCOLS['all'], settings)
  with pytest.raises(AttributeError):  # there is no tokenizer to reconstruct with
    model_sets.generator_sets(Generator(), [batch], drawing, tmp_path)
  assert asked == [settings]
