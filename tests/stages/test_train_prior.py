"""Conditioning dropout: which clips the prior is told nothing of, in training only."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training.tiny import VQVAE_CONFIG, batch, make_stage
from videogpt_jax import programs
from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.tokenizer import make_tokenizer

N_CLIPS = 128

CONFIG = PriorConfig(
  hidden_dim=16, n_heads=2, n_layers=1, n_classes=3, n_cond_frames=1, resnet_dim=8, resnet_depth=18
)


class Listener(Prior):
  """Notes the conditions that it is given, and has nothing to say itself."""

  heard: list[Condition]

  def __call__(self, embeddings, condition, key=None):
    self.heard.append(condition)
    return jnp.zeros((*embeddings.shape[:-1], self.codes.n_codes))


@pytest.fixture(scope='module')
def prior():
  return Listener(CONFIG, CodeSpec((2, 2, 2), 11, 6, 4, 8), rngs=nnx.Rngs(0))


@pytest.fixture(scope='module')
def clips():
  return batch(0, N_CLIPS)


def stage_of(prior, rate):
  prior.heard = nnx.data([])
  return make_stage('prior', prior=dataclasses.replace(CONFIG, cond_dropout=rate))


def told_nothing(condition: Condition) -> np.ndarray:
  """For each clip whether its condition is zeros, bool [B]: class and frames at once."""
  norm, memory = (np.all(part == 0, axis=(1, 2)) for part in (condition.norm, condition.memory))
  np.testing.assert_array_equal(norm, memory)
  return norm


@pytest.mark.parametrize('rate', [0.0, 0.5])
def test_so_many_clips_lose_all_of_their_condition(rate, prior, clips):
  stage = stage_of(prior, rate)
  for seed in (0, 1):
    stage.updates[0].loss(prior, stage.frozen, clips, jax.random.key(seed))
  first, second = map(told_nothing, prior.heard)
  error = 4 * np.sqrt(rate * (1 - rate) / N_CLIPS)
  assert abs(first.mean() - rate) <= error
  assert abs(second.mean() - rate) <= error
  assert (first != second).any() == (rate > 0)
  whole = prior.condition({'class_label': clips['label'], 'frames': clips['video'][:, :1]})
  for part, expected in zip(prior.heard[0], whole, strict=True):
    np.testing.assert_allclose(part[~first], expected[~first], rtol=1e-4)


def test_an_evaluation_is_told_everything(prior, clips):
  stage = stage_of(prior, 0.5)
  stage.evaluate(prior, stage.frozen, clips)
  assert not told_nothing(prior.heard[0]).any()


class Hearer(Listener):
  """Notes the codes' vectors that it is given."""

  def __call__(self, embeddings, condition, key=None):
    self.heard.append(embeddings)
    return jnp.zeros((*embeddings.shape[:-1], self.codes.n_codes))


def test_with_history_a_clip_is_a_random_stretch_of_a_longer_one():
  causal = {'norm': 'group', 'time_padding': 'causal', 'axial_attention': False}
  vqvae = VQVAE(dataclasses.replace(VQVAE_CONFIG, **causal), rngs=nnx.Rngs(0))
  tokenizer = make_tokenizer(vqvae, 4, 8)
  config = PriorConfig(hidden_dim=16, n_heads=2, n_layers=1, history=3)
  hearer = Hearer(config, tokenizer.spec, rngs=nnx.Rngs(0))
  hearer.heard = nnx.data([])
  video = np.random.default_rng(0).uniform(-0.5, 0.5, (N_CLIPS, 10, 8, 8, 3)).astype(np.float32)
  codes = tokenizer.encode(video)  # 5 latent frames, of which a clip has 2
  prior_stage(config, tokenizer).updates[0].loss(
    hearer, tokenizer, {'video': video}, jax.random.key(0)
  )
  vectors = tokenizer.lookup(codes)
  places = [(hearer.heard[0] == vectors[:, i : i + 2]).all((1, 2, 3, 4)) for i in range(4)]
  assert np.any(places, axis=0).all()
  assert all(0.1 < place.mean() < 0.45 for place in places)


@pytest.mark.parametrize('previews', [0, 2, 1000])
def test_an_evaluation_draws_videos_under_the_conditions_of_held_out_clips(previews):
  config = dataclasses.replace(CONFIG, n_cond_frames=0)
  tokenizer = make_tokenizer(VQVAE(VQVAE_CONFIG, rngs=nnx.Rngs(7)), 4, 8)
  prior, clips = Prior(config, tokenizer.spec, rngs=nnx.Rngs(0)), batch(0, 3)
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  shown = jax.jit(prior_stage(config, tokenizer, previews).show)(prior, tokenizer, clips)
  if not previews:
    assert shown == {}
    return
  n = min(previews, 3)
  keys = jax.random.key_data(jax.random.split(jax.random.key(0), n))
  conditions = {'class_label': clips['label'][:n]}
  drawn = programs.draw(trained(prior), tokenizer, keys, Controls(), conditions)
  expected = programs.videos(tokenizer, drawn.codes)
  assert expected.std() > 0
  np.testing.assert_allclose(shown['previews'] + 0.5, expected, atol=1e-5)
