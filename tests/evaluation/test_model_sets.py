import dataclasses

import numpy as np
import pytest
from flax import nnx

from videogpt_jax.evaluation import compare, model_sets, networks, protocols
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.videogpt import VideoGPT

_SHAPE = (4, 9, 8, 3)
_PROTOCOL = protocols.Protocol('small', 3, 2, 'this test')


def _batches(n=7, batch_size=4):
  video = np.random.default_rng(0).integers(0, 256, (n, *_SHAPE), dtype=np.uint8)
  for start in range(0, n, batch_size):
    rows = np.minimum(np.arange(start, start + batch_size), n - 1)
    yield {
      'video': video[rows] / np.float32(255) - 0.5,
      'label': rows.astype(np.int32),
      'actions': np.broadcast_to(rows[:, None, None], (len(rows), 4, 2)).astype(np.float32),
      'mask': (np.arange(start, start + batch_size) < n).astype(np.float32),
    }


class _Tokenizer:
  def encode(self, video):
    return video

  def decode(self, codes):
    return codes + 1 / 255


class _Generator:
  """Repeats its class label, and records its calls."""

  def __init__(self, **conditioning):
    self.config, self.digest, self.vqvae = PriorConfig(**conditioning), 'abc', _Tokenizer()
    self.calls = []

  def sample(self, n, seed, conditions, settings):
    self.calls.append((conditions, settings))
    told = conditions.get('class_label', np.zeros(n))
    return np.broadcast_to(told[:, None, None, None, None] / 255.0, (n, *_SHAPE))


@pytest.mark.parametrize(
  ('conditioning', 'told'),
  [
    ({}, set()),
    ({'n_classes': 7}, {'class_label'}),
    ({'n_cond_frames': 1, 'action_dim': 2, 'resnet_dim': 240}, {'frames', 'actions'}),
  ],
)
def test_a_sample_is_told_of_its_own_real_clip(conditioning, told, tmp_path):
  model = _Generator(**conditioning)
  settings = SamplingSettings(temperature=0.9, guidance=2.0, best_of=3, top_k=5)
  drawing = model_sets.Drawing(_PROTOCOL, settings, seed=3, batch_size=2)
  sets = model_sets.generator_sets(model, _batches(), drawing, tmp_path)
  assert len(sets.reference) == len(sets.reconstructions) == len(sets.samples) == 6
  assert all(conditions.keys() == told for conditions, _ in model.calls)
  assert all(used == settings for _, used in model.calls)  # all of them, guidance and best_of too
  order = protocols.draw(_PROTOCOL, 6, 6, 3).reference.reshape(-1)
  if 'class_label' in told:
    np.testing.assert_array_equal(sets.samples.read(range(6))[:, 0, 0, 0, 0], order)
  if 'frames' in told:
    frames = np.concatenate([conditions['frames'] for conditions, _ in model.calls])
    real = sets.reference.read(order)[:, :1] / np.float32(255) - 0.5
    np.testing.assert_array_equal(frames, real)


def test_real_clips_serve_in_turn_where_samples_are_looked_at_alone(tmp_path):
  model, few = _Generator(n_classes=7), list(_batches(2))
  drawing = model_sets.Drawing(_PROTOCOL, batch_size=2)
  with pytest.raises(ValueError, match='3 real clips, not 6 and 2'):
    model_sets.generator_sets(model, few, drawing, tmp_path)
  alone = dataclasses.replace(drawing, compared=False)
  sets = model_sets.generator_sets(model, few, alone, tmp_path)
  told = sets.samples.read(range(6))[:, 0, 0, 0, 0]
  assert len(sets.reference) == 2 and set(told.tolist()) == {0, 1}
  assert sets.reconstructions is not None
  of_samples = dataclasses.replace(alone, protocol=dataclasses.replace(_PROTOCOL, compares=False))
  sets = model_sets.generator_sets(model, few, of_samples, tmp_path)
  assert sets.reconstructions is None and len(sets.samples) == 6


def test_samples_of_other_weights_or_settings_are_drawn_anew(tmp_path):
  model, drawing = _Generator(), model_sets.Drawing(_PROTOCOL, SamplingSettings(top_k=5))
  draw = lambda: model_sets.generator_sets(model, _batches(), drawing, tmp_path)
  draw()
  draw()
  assert len(model.calls) == 1
  for i, change in enumerate(({'top_k': 6}, {'guidance': 2.0}, {'best_of': 2})):
    drawing = dataclasses.replace(drawing, settings=SamplingSettings(**change))
    draw()
    assert len(model.calls) == 2 + i
  model.digest = 'abd'
  draw()
  assert len(model.calls) == 5


@pytest.mark.parametrize('conditioning', [{}, {'n_classes': 7}, {'n_cond_frames': 1}])
def test_samples_of_other_conditions_are_drawn_anew(conditioning, tmp_path):
  model, drawing = _Generator(**conditioning), model_sets.Drawing(_PROTOCOL)
  for sign in (1, 1, -1):
    others = lambda batch, s=sign: {'video': s * batch['video'], 'label': s * batch['label'] % 7}
    batches = [batch | others(batch) for batch in _batches()]  # such as another split's
    model_sets.generator_sets(model, batches, drawing, tmp_path)
  assert len(model.calls) == (2 if conditioning else 1)


def test_a_tokenizer_is_scored_on_all_held_out_clips():
  drawing = model_sets.Drawing(protocols.PROTOCOLS['all'])
  sets = model_sets.tokenizer_sets(_Tokenizer(), _batches(), drawing)
  assert len(sets.reference) == 7 and sets.samples is None
  result = compare.compare(sets, drawing.protocol, networks.Networks())
  # One level of 255 too bright, but for the pixels that are white already.
  assert result['scores']['reconstruction_psnr'] == pytest.approx(20 * np.log10(255), abs=0.1)


@pytest.mark.slow
def test_our_own_model_is_scored(tmp_path):
  vqvae = VQVAE(
    VQVAEConfig(n_codes=7, embedding_dim=4, n_hiddens=8, n_res_layers=1, downsample=(2, 8, 8)),
    rngs=nnx.Rngs(0),
  )
  tokenizer = make_tokenizer(vqvae, 4, 8)
  config = PriorConfig(hidden_dim=12, n_heads=2, n_layers=1, n_classes=7)
  prior = trained(Prior(config, tokenizer.spec, rngs=nnx.Rngs(1)))
  model = VideoGPT(tokenizer, prior, config)
  batches = [{**batch, 'video': batch['video'][:, :, :8]} for batch in _batches()]
  drawing = model_sets.Drawing(_PROTOCOL, SamplingSettings(temperature=0.8, top_k=3))
  sets = model_sets.generator_sets(model, batches, drawing, tmp_path)
  result = compare.compare(sets, _PROTOCOL, networks.Networks())
  assert result['sets']['samples']['n_clips'] == 6
  assert result['scores']['reconstruction_psnr'] > 0
