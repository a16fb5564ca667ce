"""The public face: shapes, ranges, seeds, and what it refuses."""

import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import make
from videogpt_jax import VideoGPT, programs
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.tokenizer import make_tokenizer


@pytest.fixture(scope='module')
def gpt():
  config = VQVAEConfig(
    embedding_dim=5, n_codes=7, n_hiddens=8, n_res_layers=1, downsample=(2, 4, 2)
  )
  tokenizer = make_tokenizer(VQVAE(config, rngs=nnx.Rngs(0)), sequence_length=6, resolution=8)
  assert tokenizer.spec == CodeSpec((3, 2, 4), 7, 5, 6, 8)
  prior = Prior(
    PriorConfig(hidden_dim=12, n_heads=2, n_layers=1, n_classes=3),
    tokenizer.spec,
    rngs=nnx.Rngs(1),
  )
  prior.fc_out.kernel[...] = make('class')[0].fc_out.kernel[:12]
  return VideoGPT(tokenizer, trained(prior), prior.config)


def test_shapes_and_ranges(gpt):
  codes = gpt.sample_codes(2, class_label=[0, 2])
  assert codes.shape == (2, 3, 2, 4) and codes.dtype == np.int32
  assert gpt.logits(codes, class_label=[0, 2]).shape == (2, 3, 2, 4, 7)
  video = gpt.sample(2, class_label=[0, 2])
  assert video.shape == (2, 6, 8, 8, 3)
  assert 0 <= video.min() <= video.max() <= 1
  np.testing.assert_array_equal(
    video, np.clip(gpt.vqvae.decode(codes), -0.5, 0.5) + np.float32(0.5)
  )
  assert gpt.vqvae.encode(video - 0.5).shape == codes.shape


def test_many_videos_are_decoded_a_few_at_a_time(gpt):
  codes = np.random.default_rng(0).integers(0, 7, (19, 3, 2, 4)).astype(np.int32)
  expected = [gpt.videos(codes[i : i + 1])[0] for i in range(19)]
  np.testing.assert_allclose(gpt.videos(codes), expected, atol=1e-5)
  # What the decoder needs beside the videos themselves does not grow with their number.
  needed = {}
  for n in (8, 64):
    lowered = programs.videos.lower(gpt.vqvae, np.zeros((n, 3, 2, 4), np.int32))
    memory = lowered.compile().memory_analysis()
    needed[n] = memory.temp_size_in_bytes
  assert needed[64] - needed[8] < needed[8]


def test_more_videos_begin_with_the_fewer(gpt):
  few, many = (gpt.sample_codes(n, seed=4, class_label=1) for n in (2, 5))
  np.testing.assert_array_equal(few, many[:2])


def test_other_sizes_than_the_trained_one_are_tokenized_too(gpt):
  assert gpt.vqvae.encode(np.zeros((1, 2, 16, 4, 3), np.float32)).shape == (1, 1, 4, 2)


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda g: g.sample(2), 'give class_label'),
    (lambda g: g.sample(2, class_label=3), r'class_label \(3\) must be in \[0, 3\)'),
    (lambda g: g.sample(2, class_label=0, top_k=0), r'top_k \(0\) must be in \[1, 7\]'),
    (lambda g: g.sample(2, class_label=0, frames=np.zeros((2, 1, 8, 8, 3))), 'leave frames out'),
    (lambda g: g.logits(np.zeros((2, 3, 2, 2), int), class_label=[0, 0]), 'codes have shape'),
    (
      lambda g: g.vqvae.encode(np.zeros((1, 3, 8, 8, 3))),
      '3 frames do not fill latent frames of 2; use 2 or 4',
    ),
    (lambda g: g.sample(0, class_label=0), r'number of videos \(0\)'),
    (lambda g: g.vqvae.encode(np.zeros((1, 2, 8, 8, 3), np.uint8)), 'video is uint8'),
    (lambda g: g.vqvae.encode(np.ones((1, 2, 8, 8, 3))), r'spans 1 to 1.*\]: video - 0.5'),
    (lambda g: g.vqvae.encode(np.full((1, 2, 8, 8, 3), 200.0)), r'\[-0.5, 0.5\]: video / 255'),
    (lambda g: g.vqvae.encode(np.full((1, 2, 8, 8, 3), -0.6)), r'clip what a decoder gives'),
    (lambda g: g.vqvae.encode(np.zeros((6, 8, 8, 3))), 'must be \\[B T H W 3\\]'),
    (lambda g: g.vqvae.decode(np.zeros((3, 2, 4), int)), 'codes have shape'),
  ],
)
def test_impossible_calls_are_refused(gpt, call, message):
  with pytest.raises(ValueError, match=message):
    call(gpt)
