"""From a request to videos: beginnings that are kept, longer videos, choices, devices."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import make
from videogpt_jax import UserError, VideoGPT, generation, media, programs, readers
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.sampling.request import Callbacks
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.training.sharding import MeshConfig, make_mesh


def videogpt(**conditioning):
  """Clips of 6 frames, codes 3 x 2 x 4."""
  config = VQVAEConfig(
    embedding_dim=5,
    n_codes=7,
    n_hiddens=8,
    n_res_layers=1,
    downsample=(2, 4, 2),
    axial_attention=False,
  )
  tokenizer = make_tokenizer(VQVAE(config, rngs=nnx.Rngs(0)), sequence_length=6, resolution=8)
  sizes = {'hidden_dim': 16, 'n_heads': 4, 'n_layers': 1, 'resnet_dim': 8, 'resnet_depth': 18}
  prior = Prior(PriorConfig(**sizes, **conditioning), tokenizer.spec, rngs=nnx.Rngs(1))
  prior.fc_out.kernel[...] = make('full')[0].fc_out.kernel[:16] * 0.2
  return VideoGPT(tokenizer, trained(prior), prior.config)


@pytest.fixture(scope='module')
def gpt():
  return videogpt(n_classes=3, cond_dropout=0.1)


@pytest.fixture(scope='module')
def by_frames():
  return videogpt(n_cond_frames=1)


FRAMES = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9, 8, 8, 3)).astype(np.float32)


def first_codes(gpt, frames):
  """The codes of two frames at the beginning of a clip of 6 that then stands still."""
  still = np.concatenate([frames, np.repeat(frames[:, -1:], 4, axis=1)], axis=1)
  return programs.encode(gpt.vqvae, still)[:, :1]


def test_codes_that_are_given_are_kept_and_the_rest_is_filled_in(gpt):
  codes = gpt.sample_codes(2, seed=3, class_label=1)
  again = gpt.sample_codes(2, seed=3, class_label=1, prefix=codes[:, :1])
  np.testing.assert_array_equal(codes, again)
  other = (codes[:, :1] + 1) % 7
  filled = gpt.sample_codes(2, seed=3, class_label=1, prefix=other)
  np.testing.assert_array_equal(filled[:, :1], other)
  assert (filled[:, 1:] != codes[:, 1:]).any()


def test_a_longer_video_begins_as_the_clip_and_its_clips_share_frames(gpt):
  request = gpt.request(2, seed=5, class_label=[0, 2], num_frames=13)
  long, clip = gpt.generate(request), gpt.sample(2, seed=5, class_label=[0, 2])
  assert long.video.shape == (2, 13, 8, 8, 3)
  assert long.codes.shape == (2, 3, 3, 2, 4)  # clips begin at frames 0, 4 and 8
  # The last frames of a clip, encoded as the beginning of the next.
  beginning = first_codes(gpt, clip[:, 4:] - np.float32(0.5))
  np.testing.assert_array_equal(long.codes[:, 1, :1], beginning)
  np.testing.assert_array_equal(long.video[:, :5], clip[:, :5])
  assert (long.codes[:, 1, 1:] != long.codes[:, 2, 1:]).any()
  # The last frames are those of the last clip, decoded with the codes that it shares.
  last = gpt.videos(long.codes[:, 2])
  np.testing.assert_allclose(long.video[:, 9:], last[:, 1:5], atol=1e-6)


def test_a_prior_of_frames_continues_from_the_last_ones_of_a_clip(by_frames):
  made = by_frames.generate(by_frames.request(2, continue_from=FRAMES))
  tail = first_codes(by_frames, FRAMES[:, 7:])
  expected = by_frames.sample_codes(2, frames=FRAMES[:, 7:8], prefix=tail)
  np.testing.assert_array_equal(made.codes[:, 0], expected)
  # The first shared frame is the given one, the second that of the new clip.
  np.testing.assert_allclose(made.video[:, 0], FRAMES[:, 7] + 0.5, atol=1e-6)
  np.testing.assert_allclose(made.video[:, 1:], by_frames.videos(expected)[:, 1:], atol=1e-6)


def test_the_best_of_several_is_the_likeliest_and_each_is_another(gpt):
  one = gpt.generate(gpt.request(4, seed=1, class_label=1))
  best = gpt.generate(gpt.request(4, seed=1, class_label=1, best_of=3))
  assert (best.log_likelihood >= one.log_likelihood).all()
  assert (best.log_likelihood > one.log_likelihood).any()
  logits = gpt.logits(best.codes[:, 0], class_label=[1] * 4)
  log_p = np.take_along_axis(jax.nn.log_softmax(logits), best.codes[:, 0, ..., None], -1)
  np.testing.assert_allclose(best.log_likelihood, log_p.sum((1, 2, 3, 4)), rtol=1e-4)


def test_guidance_of_one_is_none_and_more_changes_the_codes(gpt):
  free, one, more = (
    gpt.sample_codes(2, class_label=1, **g) for g in ({}, {'guidance': 1.0}, {'guidance': 4.0})
  )
  np.testing.assert_array_equal(free, one)
  assert (free != more).any()


@pytest.mark.parametrize(
  'axes', [{}, {'data': 2, 'tensor': 4}, {'data': 1, 'fsdp': 4, 'tensor': 2}]
)
def test_eight_devices_make_the_videos_of_one(gpt, axes):
  request = gpt.request(5, seed=7, class_label=2, num_frames=8)
  alone = gpt.generate(request)
  mesh = make_mesh(MeshConfig(**axes))
  many = gpt.on_mesh(mesh)
  kernel = many.prior.state['blocks']['attn']['query']['kernel'][...]
  assert len(kernel.sharding.device_set) == 8
  heads = {shard.index[-1].indices(16)[:2] for shard in kernel.addressable_shards}
  assert len(heads) == mesh.shape['tensor']
  shared = many.generate(request)
  np.testing.assert_array_equal(alone.codes, shared.codes)
  np.testing.assert_allclose(alone.video, shared.video, atol=1e-4)
  np.testing.assert_allclose(alone.log_likelihood, shared.log_likelihood, rtol=1e-4)


def test_devices_that_share_heads_and_frames_make_the_videos_of_one(by_frames):
  request = by_frames.request(2, seed=7, frames=FRAMES[:, :1], num_frames=8)
  alone = by_frames.generate(request)
  many = by_frames.on_mesh(make_mesh(MeshConfig(data=2, tensor=4)))
  shared = many.generate(request)
  np.testing.assert_array_equal(alone.codes, shared.codes)
  np.testing.assert_allclose(alone.video, shared.video, atol=1e-4)


def test_it_says_how_far_it_is_and_compiles_all_beforehand(gpt, caplog):
  told = {'compiling': [], 'drawing': []}
  callbacks = Callbacks(told['compiling'].append, lambda *clip: told['drawing'].append(clip))
  request = gpt.request(2, class_label=1, num_frames=8)
  gpt.compile(request, callbacks)
  assert len(told['compiling']) == 3 and not told['drawing']
  with jax.log_compiles(), caplog.at_level('WARNING'):
    gpt.generate(request, callbacks)
  assert told['drawing'] == [(0, 2), (1, 2)]
  assert not [r for r in caplog.records if r.getMessage().startswith('Compiling jit(run)')]


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'class_label': 0, 'prefix': np.full((2, 3), 7)}, r'prefix \(7 to 7\) must be in \[0, 7\)'),
    ({'class_label': 0, 'prefix': np.zeros((2, 25), int)}, r'prefix has shape \(2, 25\)'),
    ({'class_label': 0, 'prefix': np.zeros((2, 1, 4, 2), int)}, 'prefix has shape'),
    ({'class_label': 0, 'prefix': np.zeros((1, 3), int)}, 'prefix has 1 entries for 2 videos'),
    ({'class_label': 0, 'best_of': 0}, r'best_of \(0\) must be at least 1'),
    ({'class_label': 0, 'guidance': -1.0}, r'guidance \(-1.0\) must be 0 or more'),
    ({'class_label': 0, 'seed': -1}, r'seed \(-1\) must be in \[0, 2\*\*32\)'),
    (
      {'class_label': 0, 'continue_from': np.uint8(FRAMES + 1)},
      r'floats in \[-0.5, 0.5\]; convert bytes',
    ),
    (
      {'class_label': 0, 'continue_from': 255 * FRAMES},
      r'continue_from \(float32, .* must be floats',
    ),
    ({'class_label': 0, 'continue_from': FRAMES[:, :1]}, 'continue_from has 1 frames, but'),
    ({'class_label': 0, 'continue_from': FRAMES[:, :, :4]}, 'continue_from has frames'),
    ({'class_label': 0, 'num_frames': -1}, r'num_frames \(-1\) must be at least 1'),
    ({'class_label': [0, 1, 2]}, 'has 3 classes for 2 videos; give one class for all, or 2'),
    ({'class_label': 0.5}, 'class_label is float64'),
  ],
)
def test_impossible_requests_are_refused(gpt, settings, message):
  with pytest.raises(ValueError, match=message):
    gpt.sample(2, **settings)


def test_guidance_is_refused_of_a_prior_that_never_lacked_its_condition():
  with pytest.raises(ValueError, match=r'trained with prior.cond_dropout=0; train one with'):
    videogpt(n_classes=3).sample(2, class_label=0, guidance=2.0)
  with pytest.raises(ValueError, match='needs a prior that is conditioned on something'):
    videogpt().sample(2, guidance=2.0)


def test_codes_out_of_range_have_no_logits(gpt):
  with pytest.raises(ValueError, match=r'codes \(0 to 7\) must be in \[0, 7\)'):
    gpt.logits(np.arange(24).reshape(1, 3, 2, 4) % 8, class_label=[0])


def test_actions_must_cover_the_video():
  gpt = videogpt(action_dim=2)
  actions = np.random.default_rng(0).normal(size=(1, 8, 2)).astype(np.float32)
  with pytest.raises(ValueError, match=r'videos of 8 frames want \[1, 8, 2\]'):
    gpt.sample(1, actions=actions[:, :6], num_frames=8)
  long = gpt.generate(gpt.request(1, actions=actions, num_frames=8))
  # The second clip is told what happens from frame 4 on.
  second = gpt.logits(long.codes[:, 1], actions=np.repeat(actions, [*[1] * 7, 3], axis=1)[:, 4:])
  first = gpt.logits(long.codes[:, 0], actions=actions[:, :6])
  log_p = lambda logits, codes: np.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], -1)
  total = log_p(first, long.codes[:, 0]).sum() + log_p(second, long.codes[:, 1])[:, 1:].sum()
  np.testing.assert_allclose(long.log_likelihood[0], total, rtol=1e-4)


def test_many_videos_go_through_in_chunks_that_fit_and_are_the_same(gpt, monkeypatch):
  request = gpt.request(5, seed=9, class_label=[0, 1, 2, 0, 1], num_frames=8)
  together = gpt.generate(request)
  # Keys and values of 24 positions of 16 numbers in one layer, for two videos at a time.
  monkeypatch.setattr(generation, 'CACHE_BYTES', 2 * 2 * 24 * 16 * 4)
  drawn = []
  callbacks = Callbacks(lambda _: None, lambda *draw: drawn.append(draw))
  apart = gpt.generate(request, callbacks)
  assert drawn == [(i, 6) for i in range(6)]  # three chunks of two clips
  for one, other in zip(together, apart, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(together.codes, apart.codes)


def test_python_takes_what_flags_take(gpt, by_frames, tmp_path):
  named = dataclasses.replace(gpt, class_names=('cat', 'dog', 'cow'))
  assert named.classes == ('cat', 'dog', 'cow') and gpt.classes == ('0', '1', '2')
  for label in ('dog', ['dog', 'dog'], '1', [1, 1]):
    np.testing.assert_array_equal(
      named.sample_codes(2, class_label=label), gpt.sample_codes(2, class_label=1)
    )
  path = tmp_path / 'clip.mp4'
  media.write_mp4(path, np.uint8(255 * (FRAMES[0] + 0.5)), 8)
  take = readers.Take(readers.Cut(), (8, 8), 1, 1)
  frames = readers.read_frames('frames', path, take)
  for given in (path, str(path)):
    np.testing.assert_array_equal(
      by_frames.sample_codes(2, frames=given),
      by_frames.sample_codes(2, frames=frames[None][[0, 0]]),
    )
  continued = by_frames.generate(by_frames.request(1, continue_from=path))
  last = readers.Take(readers.Cut(), (8, 8), 2, 2, from_end=True)
  np.testing.assert_allclose(
    continued.video[0, 0], readers.read_frames('', path, last)[0] + 0.5, atol=1e-6
  )


def test_an_unknown_setting_names_the_nearest(gpt):
  with pytest.raises(UserError, match="unknown setting 'temprature'; did you mean 'temperature'"):
    gpt.sample(1, class_label=0, temprature=0.5)


@pytest.mark.slow
def test_a_causal_tokenizer_whose_first_frame_is_alone_goes_on_beyond_a_clip():
  """Conditions of all kinds on wide frames; 1 + 2n of them, or any number of a longer video."""
  config = VQVAEConfig(
    quantizer='bsq',
    embedding_dim=4,
    n_codes=16,
    n_hiddens=8,
    n_res_layers=1,
    downsample=(2, 4, 2),
    norm='group',
    time_padding='causal',
    time_mask='causal',
    time_window=2,
    first_frame_alone=True,
  )
  tokenizer = make_tokenizer(VQVAE(config, rngs=nnx.Rngs(0)), 7, (8, 16))
  sizes = {'hidden_dim': 16, 'n_heads': 4, 'n_layers': 1, 'resnet_dim': 8, 'resnet_depth': 18}
  conditioned = PriorConfig(**sizes, n_cond_frames=1, action_dim=2)
  prior = Prior(conditioned, tokenizer.spec, rngs=nnx.Rngs(1))
  gpt = VideoGPT(tokenizer, trained(prior), conditioned)
  assert gpt.latent_shape == (4, 2, 8)
  start = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 5, 8, 16, 3)).astype(np.float32)
  actions = np.zeros((1, 12, 2), np.float32)
  video = gpt.sample(1, num_frames=12, actions=actions, frames=start[:, :1])
  assert video.shape == (1, 12, 8, 16, 3)
  video = gpt.sample(1, num_frames=12, actions=actions, continue_from=start)
  assert video.shape == (1, 12, 8, 16, 3)
  shared = np.asarray(start[:, -3:] + 0.5)  # two latent frames; the first quarter is not faded
  np.testing.assert_allclose(video[:, 0], shared[:, 0], atol=1e-6)
