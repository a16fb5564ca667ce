"""A causal tokenizer gives piece by piece what it gives at once, in memory that does not grow."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax import programs, streaming
from videogpt_jax.errors import UserError
from videogpt_jax.models.past import Past
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.tokenizer import make_tokenizer

CAUSAL = {
  'n_hiddens': 8,
  'n_res_layers': 1,
  'norm': 'group',
  'time_padding': 'causal',
  'time_mask': 'causal',
  'time_window': 3,
}
KINDS = {
  'ema': {'n_codes': 8, 'embedding_dim': 3, 'downsample': (2, 2, 4)},
  'fsq': {
    'quantizer': 'fsq',
    'levels': (3, 4),
    'n_codes': 12,
    'embedding_dim': 2,
    'downsample': (4, 2, 4),
    'first_frame_alone': True,
    'post_vq_kernel': 3,
    'norm': 'rms',
  },
  'lfq': {
    'quantizer': 'lfq',
    'n_codes': 16,
    'embedding_dim': 4,
    'downsample': (1, 2, 4),
    'norm': 'channel',
  },
  'bsq': {
    'quantizer': 'bsq',
    'n_codes': 4,
    'embedding_dim': 4,
    'n_codebooks': 2,
    'downsample': (2, 2, 4),
    'first_frame_alone': True,
  },
  'alone': {
    'quantizer': 'fsq',
    'levels': (3, 4),
    'n_codes': 12,
    'embedding_dim': 2,
    'downsample': (2, 2, 4),
    'time_padding': 'none',
    'time_window': 1,
  },
}


@pytest.fixture(autouse=True)
def short(monkeypatch):
  monkeypatch.setattr(streaming, 'PIECE', 2)


@functools.cache
def causal(kind):
  """The tokenizer of clips of some latent frames, and a video of more of them."""
  config = VQVAEConfig(**(CAUSAL | KINDS[kind]))
  tokenizer = make_tokenizer(VQVAE(config, rngs=nnx.Rngs(0)), config.time_grid.frames(3), (4, 8))
  shape = (2, config.time_grid.frames(7), 4, 8, 3)
  return tokenizer, np.asarray(jax.random.uniform(jax.random.key(1), shape)) - np.float32(0.5)


def cut(x, rng):
  """Cuts x [B T ...] at random: from all at once to frame by frame, empty pieces included."""
  n = x.shape[1]
  places = np.sort(rng.integers(0, n + 1, rng.integers(0, n + 1)))
  return np.split(x, places, axis=1)


def safe(quantizer, z):
  """Whether each code leads the next by more than 1e-5, bool [B t h w (G)]."""
  bound = getattr(quantizer, 'bound', lambda z: z)
  z = bound(z.reshape(*z.shape[:4], quantizer.n_codebooks, quantizer.code_dim))
  distances = jnp.linalg.norm(z[..., None, :] - quantizer.vectors(), axis=-1)
  nearest = jnp.sort(distances, axis=-1)
  found = nearest[..., 1] - nearest[..., 0] > 1e-5
  return np.asarray(found[..., 0] if quantizer.n_codebooks == 1 else found)


@pytest.mark.parametrize(
  'kind', ['ema', 'fsq', *(pytest.param(k, marks=pytest.mark.slow) for k in ('lfq', 'bsq'))]
)
def test_a_stream_of_random_chunks_equals_the_whole(kind):
  tokenizer, video = causal(kind)
  codes, frames = tokenizer.encode(video), None
  vqvae = tokenizer.module()
  clear = safe(vqvae.codebook, jax.jit(lambda video: vqvae.latents(video))(video))
  assert clear.mean() > 0.99
  frames = tokenizer.decode(codes)
  assert frames.shape == video.shape
  for seed in range(12):
    rng = np.random.default_rng(seed)
    streamed = np.concatenate(list(tokenizer.encode_stream(cut(video, rng))), axis=1)
    np.testing.assert_array_equal(streamed[clear], codes[clear])
    decoded = np.concatenate(list(tokenizer.decode_stream(cut(codes, rng))), axis=1)
    np.testing.assert_allclose(decoded, frames, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_latents_of_pieces_equal_those_of_the_whole_and_what_is_kept_has_one_size(kind):
  tokenizer, video = causal(kind)
  vqvae, grid = tokenizer.module(), tokenizer.spec.time_grid

  @jax.jit
  def piece(video, kept):
    past = Past(kept)
    return vqvae.latents(video, past=past), past.kept

  whole, kept, sizes, found = jax.jit(lambda v: vqvae.latents(v))(video), None, [], []
  for first, last in itertools.pairwise([0, 2, 4, 6, 7]):
    before = kept
    z, kept = piece(video[:, grid.frames(first) : grid.frames(last)], kept)
    found.append(z)
    sizes.append([x.shape for x in kept])
  np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=1e-5)
  assert all(size == sizes[0] for size in sizes)
  if kind == 'alone':
    assert sizes[0] == []
    return
  forgotten, _ = piece(video[:, grid.frames(6) :], jax.tree.map(jnp.zeros_like, before))
  assert np.abs(forgotten - whole[:, 6:]).max() > 1e-3


def test_decoding_needs_no_more_for_a_longer_video():
  tokenizer, _ = causal('ema')
  kept, sizes = None, set()
  for _ in range(4):
    _, kept = programs.decode_piece(tokenizer, np.zeros((1, 2, 2, 2), np.int32), kept)
    sizes.add(sum(x.nbytes for x in kept))
  assert len(sizes) == 1


@pytest.mark.parametrize(
  ('kind', 'n_frames', 'message'),
  [
    ('ema', 7, r'^7 frames do not fill latent frames of 2; use 6 or 8$'),
    ('fsq', 16, r'^16 frames .* of 4 after the first frame; use 13 or 17$'),
    ('fsq', 0, r'^0 frames .*; use 1$'),
  ],
)
def test_a_video_that_ends_within_a_latent_frame_is_refused(kind, n_frames, message):
  tokenizer, video = causal(kind)
  for call in (lambda v: list(tokenizer.encode_stream([v])), tokenizer.encode):
    with pytest.raises(UserError, match=message):
      call(video[:, :n_frames])


def test_chunks_of_another_kind_are_refused():
  tokenizer, video = causal('ema')
  for chunks, message in [
    ([video[0]], r'a chunk of video has shape \(14, 4, 8, 3\)'),
    ([video + 1], 'must lie in'),
    ([video[:, :1], video[:1, 1:]], 'all must have the same batch'),
    ([video[:, :, :, :6]], r'width \(6\) must be divisible'),
  ]:
    with pytest.raises(UserError, match=message):
      list(tokenizer.encode_stream(chunks))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'time_padding': 'same'}, r"vqvae.time_padding is 'same' \(not 'causal' or 'none'\)"),
    ({'time_mask': 'none', 'time_window': 0}, r"time_mask is 'none' .*time_window is 0"),
    ({'time_window': 0}, 'time_window is 0'),
  ],
)
def test_a_tokenizer_that_is_not_causal_says_what_is_in_the_way(change, message):
  config = VQVAEConfig(**(CAUSAL | KINDS['ema'] | change))
  with pytest.raises(UserError, match=message):
    config.check_streams()


def test_a_tokenizer_without_attention_needs_causal_padding_alone():
  options = KINDS['ema'] | {'time_padding': 'causal', 'axial_attention': False}
  VQVAEConfig(**options).check_streams()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'time_window': 2, 'time_mask': 'none'}, r"time_window \(2\) must be 0 .*time_mask='causal'"),
    ({'first_frame_alone': True, 'time_padding': 'same'}, "needs vqvae.time_padding='causal'"),
  ],
)
def test_options_that_need_one_another_are_refused_alone(change, message):
  with pytest.raises(UserError, match=message):
    VQVAEConfig(**(CAUSAL | KINDS['ema'] | change))
