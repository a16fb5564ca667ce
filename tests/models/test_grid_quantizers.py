"""FSQ against a table worked by hand; LFQ and BSQ against their definitions, code by code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.models.quantizers import QUANTIZERS, QuantizerConfig
from videogpt_jax.models.quantizers.binary import entropy_of_average
from videogpt_jax.models.vqvae import VQVAEConfig


def make(name, *sizes, **options):
  return QUANTIZERS[name](QuantizerConfig(*sizes, **options), rngs=nnx.Rngs(0))


# Latents on either side of each edge between two steps, and a vector's entry for each step. Levels
# 3: 0.999 tanh(z) = 1/2 at z = atanh(0.5005) = 0.5500. Levels 5: 1.998 tanh(z) = 1/2 at 0.2557 and
# 3/2 at 0.9749. Levels 4: 1.4985 tanh(z + tan(1/2 / 1.4985)) - 1/2, shifted by 0.3466, is -3/2 at
# -0.8058 - 0.3466, -1/2 at -0.3466 and 1/2 at 0.8058 - 0.3466.
LEVELS = (3, 5, 4)
#
# Clipped, levels 3: 1.4985 z = 1/2 at 0.3337. Levels 5: 2.4975 z = 1/2 at 0.2002 and 3/2 at 0.6006.
# Levels 4: 1.998 z - 1/2 is -3/2 at -0.5005, -1/2 at 0 and 1/2 at 0.5005.
EDGES = {
  'tanh': [[-0.5500, 0.5500], [-0.9749, -0.2557, 0.2557, 0.9749], [-1.1524, -0.3466, 0.4592]],
  'clip': [[-0.3337, 0.3337], [-0.6006, -0.2002, 0.2002, 0.6006], [-0.5005, 0.0, 0.5005]],
}

# Vectors of the codes 0 to 59: three codes a line, whose first entry runs through -1, 0, 1.
TABLE = """
-1 -1 -1    0 -1 -1    1 -1 -1
-1 -.5 -1   0 -.5 -1   1 -.5 -1
-1 0 -1     0 0 -1     1 0 -1
-1 .5 -1    0 .5 -1    1 .5 -1
-1 1 -1     0 1 -1     1 1 -1
-1 -1 -.5   0 -1 -.5   1 -1 -.5
-1 -.5 -.5  0 -.5 -.5  1 -.5 -.5
-1 0 -.5    0 0 -.5    1 0 -.5
-1 .5 -.5   0 .5 -.5   1 .5 -.5
-1 1 -.5    0 1 -.5    1 1 -.5
-1 -1 0     0 -1 0     1 -1 0
-1 -.5 0    0 -.5 0    1 -.5 0
-1 0 0      0 0 0      1 0 0
-1 .5 0     0 .5 0     1 .5 0
-1 1 0      0 1 0      1 1 0
-1 -1 .5    0 -1 .5    1 -1 .5
-1 -.5 .5   0 -.5 .5   1 -.5 .5
-1 0 .5     0 0 .5     1 0 .5
-1 .5 .5    0 .5 .5    1 .5 .5
-1 1 .5     0 1 .5     1 1 .5
"""
VECTORS = np.array(TABLE.split(), np.float32).reshape(60, 3)
STEPS = [[-1, 0, 1], [-1, -0.5, 0, 0.5, 1], [-1, -0.5, 0, 0.5]]


def test_fsq_gives_every_code_of_the_table_its_vector():
  fsq = make('fsq', 60, 3, levels=LEVELS)
  np.testing.assert_array_equal(fsq.vectors()[0], VECTORS)


@pytest.mark.parametrize('inset', [1e-3, 0.1])
@pytest.mark.parametrize('bound', EDGES)
def test_fsq_rounds_latents_to_every_code_of_the_table_up_to_the_edges(bound, inset):
  fsq = make('fsq', 60, 3, levels=LEVELS, bound=bound)
  for code, vector in enumerate(VECTORS):
    sides = []
    for entry, steps, edges in zip(vector, STEPS, EDGES[bound], strict=True):
      step = steps.index(entry)
      ends = [-9.0, *edges, 9.0]
      sides.append((ends[step] + inset, ends[step + 1] - inset))
    z = jnp.array(list(itertools.product(*sides)))[None, None, None]
    np.testing.assert_array_equal(fsq.nearest(z), np.full((1, 1, 1, 8), code))
    np.testing.assert_allclose(fsq(z, None).embeddings, np.broadcast_to(vector, z.shape), atol=1e-6)


@pytest.mark.parametrize('bound', EDGES)
def test_fsq_passes_gradients_through_its_bound_and_adds_no_loss(bound):
  fsq = make('fsq', 8, 3, levels=(2, 2, 2), bound=bound)
  z = jax.random.normal(jax.random.key(0), (1, 1, 2, 2, 3))
  grads = jax.grad(lambda z: fsq(z, None).embeddings.sum())(z)
  np.testing.assert_allclose(grads, jax.grad(lambda z: fsq.bound(z).sum())(z), rtol=1e-5)
  assert fsq(z, None).losses == {}


def all_codes(e):
  """Every code's signs, float64 [2^e e]."""
  return 2.0 * (np.arange(2**e)[:, None] >> np.arange(e) & 1) - 1


def defined_losses(name, z, weight):
  """Both losses as the papers define them, by all 2^e codes: float64 scalars of z [n e]."""
  codes = all_codes(z.shape[1])
  if name == 'lfq':
    signs = np.sign(z)
    affinity = -np.square(z[:, None] - codes).sum(-1)
  else:
    codes = codes / np.sqrt(z.shape[1])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    signs = np.sign(z) / np.sqrt(z.shape[1])
    affinity = 100 * z @ codes.T
  q = np.exp(affinity - affinity.max(1, keepdims=True))
  q /= q.sum(1, keepdims=True)
  entropy = lambda q: -np.sum(q * np.log(np.maximum(q, 1e-300)), axis=-1)
  return {
    'commitment_loss': 0.25 * np.square(z - signs).mean(),
    'entropy_loss': weight * (entropy(q).mean() - entropy(q.mean(0))),
  }


@pytest.mark.parametrize('name', ['lfq', 'bsq'])
@pytest.mark.parametrize('loss', ['commitment_loss', 'entropy_loss'])
def test_losses_and_their_gradients_are_those_of_the_definition(name, loss):
  """Central differences in float64 of sums over all codes, at latents away from 0."""
  quantizer = make(name, 16, 4, entropy_weight=0.7)
  rng = np.random.default_rng(0)
  z = rng.uniform(0.1, 1.2, (6, 4)) * rng.choice([-1, 1], (6, 4))

  @jax.jit
  @jax.value_and_grad
  def ours(z):
    return quantizer(z.reshape(1, 1, 2, 3, 4), None).losses[loss]

  value, grads = ours(jnp.asarray(z, jnp.float32))
  expected = defined_losses(name, z, 0.7)[loss]
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  h, differences = 1e-5, np.zeros_like(z)
  for i in np.ndindex(z.shape):
    up, down = z.copy(), z.copy()
    up[i] += h
    down[i] -= h
    ends = [defined_losses(name, x, 0.7)[loss] for x in (up, down)]
    differences[i] = (ends[0] - ends[1]) / (2 * h)
  np.testing.assert_allclose(grads, differences, atol=2e-3 * np.abs(differences).max())


def test_binary_codes_are_the_signs_and_bsq_vectors_lie_on_the_sphere():
  z = jax.random.normal(jax.random.key(0), (2, 1, 3, 4, 10))
  bits = np.asarray(z).reshape(2, 1, 3, 4, 2, 5) > 0
  for name, length in {'lfq': 5**0.5, 'bsq': 1.0}.items():
    quantizer = make(name, 32, 10, 2)
    codes = quantizer.nearest(z)
    np.testing.assert_array_equal(codes, (bits << np.arange(5)).sum(-1))
    vectors = quantizer.lookup(codes)
    np.testing.assert_array_equal(np.asarray(vectors) > 0, bits)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), length, rtol=1e-6)
  assert not np.isnan(make('bsq', 32, 10, 2).nearest(jnp.zeros((1, 1, 1, 1, 10)))).any()


@pytest.mark.parametrize('e', [1, 2, 11])
def test_entropy_of_the_average_is_that_over_all_codes(e):
  logits = jax.random.normal(jax.random.key(0), (7, e))
  on = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))[:, None]
  average = np.where(all_codes(e) > 0, on, 1 - on).prod(-1).mean(0)
  np.testing.assert_allclose(
    entropy_of_average(logits), -(average * np.log(average)).sum(), rtol=1e-5
  )


def test_bits_that_copy_one_another_are_no_entropy():
  """Two groups of six bits, each of any value, but always the same: 64 codes of 4,096."""
  half = 20 * all_codes(6)
  copied = entropy_of_average(jnp.asarray(np.concatenate([half, half], 1), jnp.float32))
  np.testing.assert_allclose(copied, 6 * np.log(2), rtol=1e-4)


def test_entropy_of_more_bits_than_are_counted_jointly_is_the_sum_over_groups():
  logits = jax.random.normal(jax.random.key(0), (7, 20))
  parts = [entropy_of_average(part) for part in (logits[:, :10], logits[:, 10:])]
  np.testing.assert_allclose(entropy_of_average(logits), sum(parts), rtol=1e-5)


@pytest.mark.parametrize('name', ['fsq', 'lfq', 'bsq'])
def test_eighteen_bits_are_codes_and_vectors_and_back(name):
  levels = {'levels': (8,) * 6} if name == 'fsq' else {}
  quantizer = make(name, 2**18, 6 if levels else 18, **levels)
  codes = jnp.array([0, 1, 99_999, 2**18 - 1]).reshape(1, 1, 2, 2)
  vectors = quantizer.lookup(codes)
  z = vectors
  if name == 'fsq':  # the middle of each step, a little nearer to 0
    z = jnp.arctanh((4 * vectors + 0.5) / 3.6) - np.tan(0.5 / (3.5 * 0.999))
  np.testing.assert_array_equal(quantizer.nearest(z), codes)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'quantizer': 'fsq'}, r'levels \(\) must be numbers from 2 on'),
    ({'quantizer': 'fsq', 'levels': (8, 1)}, r'levels \(8, 1\) must be numbers from 2 on'),
    ({'quantizer': 'fsq', 'levels': (8, 8)}, r'n_codes \(2048\) must be 64 .*vqvae.n_codes=64'),
    (
      {'quantizer': 'fsq', 'levels': (8, 8), 'n_codes': 64},
      r'embedding_dim \(256\) must be 2 .*vqvae.embedding_dim=2',
    ),
    (
      {'quantizer': 'fsq', 'levels': (8, 8), 'bound': 'erf'},
      r"bound 'erf' is not one of \('tanh', 'clip'\)",
    ),
    ({'quantizer': 'lfq', 'embedding_dim': 10}, r'n_codes \(2048\) must be 2\^10 = 1024'),
    ({'quantizer': 'bsq', 'embedding_dim': 11, 'entropy_weight': -1}, r'entropy_weight \(-1\)'),
  ],
)
def test_sizes_that_a_quantizer_cannot_have_are_refused(options, message):
  with pytest.raises(UserError, match=message):
    VQVAEConfig(**options)
