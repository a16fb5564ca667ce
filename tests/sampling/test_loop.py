"""The fused loop equals the parallel forward, for every chunk and segment; seeds; given codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_prior import KINDS, make
from videogpt_jax.models.attention import CausalMask, strided_mask
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.sampling import sequential
from videogpt_jax.sampling.logits import Controls

CODEBOOK = jax.random.normal(jax.random.key(5), (1, 7, 5))


def lookup(codes, group):
  return CODEBOOK[group, codes]


def decode(prior, condition, n=2, seed=0, **kwargs):
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(n))
  return jax.jit(
    lambda keys: sequential.decode(prior, lookup, condition, keys, Controls(), **kwargs)
  )(keys)


ONE_LOOP, SEGMENTED = (64, 1, 0), (4, 2, 10)  # of ten given codes eight at once
CASES = [(kind, *SEGMENTED) for kind in KINDS] + [('full', *ONE_LOOP)]
CASES += [pytest.param(kind, *ONE_LOOP, marks=pytest.mark.slow) for kind in KINDS if kind != 'full']
CASES += [(kind, *cut, 0) for kind in ('full', 'sparse') for cut in ((4, 2), (2, 3))]
CASES += [('full', 4, 2, 24)]
CODES = jax.random.randint(jax.random.key(6), (2, 2, 3, 4), 0, 7)


@pytest.mark.parametrize(('kind', 'chunk', 'n_segments', 'n_given'), CASES)
def test_logits_equal_the_parallel_forward_at_every_position(
  kind, chunk, n_segments, n_given, monkeypatch
):
  monkeypatch.setattr(sequential, 'CHUNK', chunk)
  monkeypatch.setattr(sequential, 'PREFILL_CHUNK', 2 * chunk)
  monkeypatch.setattr(sequential, 'SEGMENTS', n_segments)
  prior, conditions = make(kind)
  condition = jax.jit(prior.condition)(conditions)
  given = CODES.reshape(2, -1)[:, :n_given]
  out = decode(prior, condition, given=given, with_logits=True)
  np.testing.assert_array_equal(out.codes.reshape(2, -1)[:, :n_given], given)
  expected = jax.jit(prior)(CODEBOOK[0][out.codes], condition)
  np.testing.assert_allclose(out.logits, expected, atol=1e-4 * np.abs(expected).max())
  log_p = jnp.take_along_axis(jax.nn.log_softmax(expected), out.codes[..., None], -1)
  drawn = log_p.reshape(2, -1)[:, n_given:].sum(1)
  np.testing.assert_allclose(out.log_likelihood, drawn, rtol=1e-4, atol=1e-4)


def test_several_codebooks_decode_as_the_forward():
  spec = CodeSpec((2, 3, 2, 2), n_codes=7, embedding_dim=5, sequence_length=6, resolution=8)
  prior, _ = make('full', spec)
  codebook = jax.random.normal(jax.random.key(5), (2, 7, 5))
  codes = jax.random.randint(jax.random.key(6), (2, 2, 3, 2, 2), 0, 7)
  expected = prior(codebook[jnp.arange(2), codes], prior.condition({}))
  out = sequential.decode(
    prior,
    lambda codes, group: codebook[group, codes],
    prior.condition({}),
    jax.random.split(jax.random.key(0), 2),
    Controls(),
    given=codes.reshape(2, -1),
    with_logits=True,
  )
  np.testing.assert_allclose(out.logits, expected, atol=1e-4 * np.abs(expected).max())


def test_a_video_depends_on_its_own_key_and_not_on_the_batch():
  prior, _ = make('full')
  few, many = decode(prior, prior.condition({}), 2), decode(prior, prior.condition({}), 5)
  np.testing.assert_array_equal(few.codes, many.codes[:2])
  assert (many.codes[0] != many.codes[1]).any()
  other = decode(prior, prior.condition({}), 2, seed=1)
  assert (few.codes != other.codes).any()


def test_given_codes_stay_and_what_follows_is_drawn_as_if_they_had_been():
  prior, _ = make('full')
  free = decode(prior, prior.condition({})).codes.reshape(2, 24)
  again = decode(prior, prior.condition({}), given=free[:, :10]).codes.reshape(2, 24)
  np.testing.assert_array_equal(free, again)
  other = (free + 1) % 7
  changed = decode(prior, prior.condition({}), given=other[:, :10]).codes.reshape(2, 24)
  np.testing.assert_array_equal(changed[:, :10], other[:, :10])
  assert (changed[:, 10:] != free[:, 10:]).any()


def test_guidance_is_a_step_from_the_unconditional_logits_through_the_conditional_ones():
  prior, conditions = make('frames')
  condition = prior.condition(conditions)
  null = jax.tree.map(jnp.zeros_like, condition)
  greedy = Controls(temperature=None, guidance=2.5)
  keys = jax.random.split(jax.random.key(0), 2)
  out = jax.jit(
    lambda: sequential.decode(prior, lookup, condition, keys, greedy, with_logits=True)
  )()
  with_it, without = (jax.jit(prior)(CODEBOOK[0][out.codes], c) for c in (condition, null))
  np.testing.assert_allclose(out.logits, with_it, atol=1e-4 * np.abs(with_it).max())
  guided = without + 2.5 * (with_it - without)
  np.testing.assert_array_equal(out.codes, guided.argmax(-1))
  assert (np.abs(with_it - without) > 0.1).any()


@pytest.mark.parametrize(
  ('length', 'block', 'wanted'),
  [(4096, None, (16, 64)), (105, None, (7, 35)), (7, None, (7, 7)), (64, 32, (16, 32))],
)
def test_chunks_tile_a_clip_and_drawn_ones_those_that_are_given(length, block, wanted):
  mask = CausalMask() if block is None else strided_mask((length,), block, 1)
  assert sequential.chunk_lengths(length, mask) == wanted


def test_segments_cover_every_position_once():
  for first, last, chunk, length in [
    (0, 24, 4, 24),
    (0, 256, 64, 256),
    (1024, 4096, 64, 4096),
    (0, 7, 7, 7),
    (8, 8, 4, 24),
  ]:
    for most in (1, sequential.SEGMENTS):
      runs = sequential.segments(first, last, chunk, length, most)
      covered = [i for start, end in runs for i in range(start, end)]
      assert covered == list(range(first, last))
      assert len(runs) <= most
      assert len(runs) == 1 or all(end - start >= 2 * chunk for start, end in runs)
