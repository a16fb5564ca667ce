"""The fused loop equals the parallel forward, for every chunk and segment; seeds; given codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_prior import KINDS, make
from videogpt_jax.models.prior import CodeSpec
from videogpt_jax.sampling import loop
from videogpt_jax.sampling.controls import Controls

CODEBOOK = jax.random.normal(jax.random.key(5), (1, 7, 5))


def decode(prior, condition, n=2, seed=0, **kwargs):
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(n))
  return jax.jit(lambda keys: loop.decode(prior, CODEBOOK, condition, keys, Controls(), **kwargs))(
    keys
  )


CUTS = [(64, 8), (4, 8), (4, 1), (2, 3)]
# Cross-attention does not see how the codes are cut.
CASES = [(kind, *cut) for kind in KINDS for cut in (CUTS[1:2] if kind == 'frames' else CUTS)]


@pytest.mark.parametrize(('kind', 'chunk', 'n_segments'), CASES)
def test_logits_equal_the_parallel_forward_at_every_position(kind, chunk, n_segments, monkeypatch):
  monkeypatch.setattr(loop, 'CHUNK', chunk)
  monkeypatch.setattr(loop, 'SEGMENTS', n_segments)
  prior, conditions = make(kind)
  condition = jax.jit(lambda c: prior.condition(**c))(conditions)
  codes = jax.random.randint(jax.random.key(6), (2, 2, 3, 4), 0, 7)
  expected = jax.jit(prior)(CODEBOOK[0][codes], condition)
  out = decode(prior, condition, given=codes, n_given=24, with_logits=True)
  np.testing.assert_array_equal(out.codes, codes)
  np.testing.assert_allclose(out.logits, expected, atol=1e-4 * np.abs(expected).max())
  log_p = jnp.take_along_axis(jax.nn.log_softmax(expected), codes[..., None], -1)
  np.testing.assert_allclose(out.log_likelihood, log_p.sum((1, 2, 3, 4)), rtol=1e-4)


def test_several_codebooks_decode_as_the_forward():
  spec = CodeSpec((2, 3, 2, 2), n_codes=7, embedding_dim=5, sequence_length=6, resolution=8)
  prior, _ = make('full', spec)
  codebook = jax.random.normal(jax.random.key(5), (2, 7, 5))
  codes = jax.random.randint(jax.random.key(6), (2, 2, 3, 2, 2), 0, 7)
  expected = prior(codebook[jnp.arange(2), codes], prior.condition())
  out = loop.decode(
    prior,
    codebook,
    prior.condition(),
    jax.random.split(jax.random.key(0), 2),
    Controls(),
    given=codes,
    n_given=24,
    with_logits=True,
  )
  np.testing.assert_allclose(out.logits, expected, atol=1e-4 * np.abs(expected).max())


def test_a_video_depends_on_its_own_key_and_not_on_the_batch():
  prior, _ = make('full')
  few, many = decode(prior, prior.condition(), 2), decode(prior, prior.condition(), 5)
  np.testing.assert_array_equal(few.codes, many.codes[:2])
  assert (many.codes[0] != many.codes[1]).any()
  other = decode(prior, prior.condition(), 2, seed=1)
  assert (few.codes != other.codes).any()


def test_given_codes_stay_and_what_follows_is_drawn_as_if_they_had_been():
  prior, _ = make('full')
  free = decode(prior, prior.condition())
  again = decode(prior, prior.condition(), given=free.codes, n_given=10)
  np.testing.assert_array_equal(free.codes, again.codes)
  other = (free.codes + 1) % 7
  changed = decode(prior, prior.condition(), given=other, n_given=10).codes.reshape(2, 24)
  np.testing.assert_array_equal(changed[:, :10], other.reshape(2, 24)[:, :10])
  assert (changed[:, 10:] != free.codes.reshape(2, 24)[:, 10:]).any()


def test_segments_cover_every_position_once():
  for length, chunk in [(24, 4), (256, 64), (4096, 64), (7, 7)]:
    runs = loop.segments(length, chunk)
    assert [first for first, _ in runs] == [0, *(last for _, last in runs[:-1])]
    assert runs[-1][1] == length
    assert len(runs) <= loop.SEGMENTS
