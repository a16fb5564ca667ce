"""A stream of latent frames equals the prior over a clip that is as long."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.sampling.test_loop import CODEBOOK, lookup
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.rotary import frame_angles, rotary_angles
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import stream as streams
from videogpt_jax.sampling.logits import Controls

T, WINDOW = 7, 3  # the ring of two frames wraps three times
CONFIG = PriorConfig(
  hidden_dim=24,
  n_heads=2,
  n_layers=2,
  positions='rotary',
  qk_norm=True,
  norm='rms',
  mlp='swiglu',
  attn_type='window',
  attn_window=WINDOW,
  action_dim=2,
  dropout=0.0,
  attn_dropout=0.0,
)


def make(t=T, n_codebooks=(), **changes):
  """A prior of clips of t latent frames of 2 x 3 codes and two frames each; its parts matter."""
  config = dataclasses.replace(CONFIG, **changes)
  spec = CodeSpec((t, 2, 3, *n_codebooks), 7, 5, sequence_length=2 * t, resolution=8)
  prior = Prior(config, spec, rngs=nnx.Rngs(0))
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  prior.fc_in.kernel[...] *= 50
  return prior


ACTIONS = jax.random.normal(jax.random.key(3), (2, 2 * T, 2))
LEADING = jnp.pad(ACTIONS[:, :-1], [(0, 0), (1, 0), (0, 0)]).reshape(2, T, 2, 2)


def angles(prior, i):
  return frame_angles(i, prior.codes.latent_shape, prior.config.head_size)


PLAIN = Controls()


def run(prior, strategy, given=None, controls=PLAIN, first=0, look_up=lookup):
  """Draws T frames for two streams, the first ones given: codes and log-likelihoods."""
  key = jax.random.key(5)

  @jax.jit
  def draw(keys, actions, angles, stream):
    condition = prior.conditioners.latent_frame({'actions': actions})
    return streams.draw(prior, look_up, condition, keys, controls, angles, stream, strategy)

  @jax.jit
  def feed(actions, angles, stream, codes):
    condition = prior.conditioners.latent_frame({'actions': actions})
    return streams.feed(prior, look_up, condition, angles, stream, codes)

  stream = streams.begin(prior, 2, controls.guidance is not None)
  codes, log_likelihood, passes = [], [], []
  for i in range(T):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, i), jnp.arange(2))
    if given is not None and i < given.shape[1]:
      codes.append(given[:, i : i + 1])
      stream = feed(LEADING[:, i], angles(prior, first + i), stream, codes[-1])
      log_likelihood.append(jnp.zeros(2))
      continue
    drawn, stream = draw(keys, LEADING[:, i], angles(prior, first + i), stream)
    codes.append(drawn.codes)
    log_likelihood.append(drawn.log_likelihood)
    passes.append(drawn.passes)
  return jnp.concatenate(codes, axis=1), jnp.stack(log_likelihood, axis=1), jnp.stack(passes)


@pytest.mark.parametrize('n_given', [0, 4])
def test_likelihoods_are_those_of_the_prior_over_the_whole_clip(n_given):
  prior = make()
  given = jax.random.randint(jax.random.key(6), (2, n_given, 2, 3), 0, 7) if n_given else None
  codes, log_likelihood, _ = run(prior, 'sequential', given)
  logits = jax.jit(prior)(CODEBOOK[0][codes], prior.condition({'actions': ACTIONS}))
  log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], -1)
  wanted = log_p.sum((2, 3, 4))[:, n_given:]
  np.testing.assert_allclose(log_likelihood[:, n_given:], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('controls', [PLAIN, Controls(guidance=2.0, top_k=3)])
def test_speculative_frames_are_the_sequential_ones_in_fewer_passes(controls):
  prior = make()
  one, one_p, one_passes = run(prior, 'sequential', controls=controls)
  other, other_p, passes = run(prior, 'speculative', controls=controls)
  np.testing.assert_array_equal(one, other)
  np.testing.assert_allclose(one_p, other_p, rtol=1e-4)
  assert (one_passes == 6).all() and passes.sum() < one_passes.sum()


def test_frames_do_not_depend_on_how_many_came_before():
  """Only distances count: a million frames later the stream draws the same."""
  prior = make()
  codes, log_likelihood, _ = run(prior, 'sequential')
  later, later_p, _ = run(prior, 'sequential', first=1_000_000)
  np.testing.assert_array_equal(codes, later)
  np.testing.assert_allclose(log_likelihood, later_p, rtol=1e-3, atol=1e-3)


def test_frames_outside_the_window_do_not_count():
  """One layer sees the codes before each position of the window: others change nothing."""
  prior = make(n_layers=1)
  a = jax.random.randint(jax.random.key(6), (2, T - 1, 2, 3), 0, 7)
  other, oldest = (a + 1) % 7, T - WINDOW
  last_before = a[:, oldest - 1, -1, -1]  # the input at the oldest frame's first position
  b = a.at[:, :oldest].set(other[:, :oldest]).at[:, oldest - 1, -1, -1].set(last_before)
  inside = a.at[:, oldest - 1, -1, -1].set(other[:, oldest - 1, -1, -1])
  last = [run(prior, 'sequential', given)[1][:, -1] for given in (a, b, inside)]
  np.testing.assert_allclose(last[0], last[1], rtol=1e-5)
  assert np.abs(last[0] - last[2]).max() > 1e-3


def test_several_codebooks():
  prior = make(n_codebooks=(2,))
  books = jax.random.normal(jax.random.key(5), (2, 7, 5))
  look_up = lambda codes, group: books[group, codes]
  codes, log_likelihood, _ = run(prior, 'speculative', look_up=look_up)
  logits = prior(books[jnp.arange(2), codes], prior.condition({'actions': ACTIONS}))
  log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], -1)
  np.testing.assert_allclose(log_likelihood, log_p.sum((2, 3, 4, 5)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('grid', [(5, 2, 3), (5, 2, 3, 2)])
@pytest.mark.parametrize('head_size', [12, 13, 16])
def test_angles_of_a_frame_and_within_it_make_those_of_the_grid(grid, head_size):
  whole = rotary_angles(grid, head_size).reshape(grid[0], -1, head_size // 2)
  within = rotary_angles((1, *grid[1:]), head_size)
  for frame in range(grid[0]):
    turn = np.exp(1j * (frame_angles(frame, grid, head_size) + within))
    np.testing.assert_allclose(turn, np.exp(1j * whole[frame]), atol=1e-5)
