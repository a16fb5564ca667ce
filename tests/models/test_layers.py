"""Convolutions against XLA's own, evaluated the plain way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.models import layers

DIMENSIONS = ('NDHWC', 'DHWIO', 'NDHWC')


def random(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize('stride', [(1, 1, 1), (2, 2, 2), (2, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize('size', [1, 3, 4])
def test_conv3d_equals_the_strided_convolution(size, stride):
  x, kernel = random(0, 2, 4, 6, 8, 5), random(1, size, size, size, 5, 7)
  padding = [(size // 2, size // 2)] * 3 if size % 2 else layers.same_padding((4, 4, 4), stride)

  def plain(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=DIMENSIONS)

  def ours(x, kernel):
    return layers.conv3d(x, kernel, stride, padding)

  expected = plain(x, kernel)
  np.testing.assert_allclose(jax.jit(ours)(x, kernel), expected, atol=1e-4)
  weights = random(2, *expected.shape)

  def gradients(convolve):
    return jax.jit(jax.grad(lambda *a: jnp.vdot(convolve(*a), weights), (0, 1)))(x, kernel)

  for got, wanted in zip(gradients(ours), gradients(plain), strict=True):
    np.testing.assert_allclose(got, wanted, atol=1e-3)


@pytest.mark.parametrize('stride', [(2, 2, 2), (2, 1, 1), (1, 2, 2)])
def test_conv3d_transpose_equals_the_gradient_of_a_convolution(stride):
  """A transposed convolution is the adjoint of the convolution with the same kernel."""
  x, kernel = random(0, 2, 3, 4, 5, 6), random(1, 4, 4, 4, 6, 3)
  edges = layers.same_padding((4, 4, 4), stride)
  padded = jnp.pad(x, [(0, 0), *edges, (0, 0)])
  full = [s * (n - 1) + 4 for n, s in zip(padded.shape[1:4], stride, strict=True)]

  def forward(y):
    return jax.lax.conv_general_dilated(
      y, kernel.swapaxes(3, 4), stride, 'VALID', dimension_numbers=DIMENSIONS
    )

  adjoint = jax.vjp(forward, jnp.zeros((2, *full, 3)))[1](padded)[0]
  np.testing.assert_allclose(
    layers.conv3d_transpose(x, kernel, stride), adjoint[:, 3:-3, 3:-3, 3:-3], atol=1e-4
  )


def test_batch_norm_averages_move_by_a_tenth_towards_the_unbiased_statistics():
  norm, x = layers.BatchNorm(3), 2 + 3 * random(0, 5, 2, 2, 2, 3)
  y = norm(x, train=True)
  flat = np.asarray(x, np.float64).reshape(-1, 3)
  np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
  np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)
  np.testing.assert_allclose(np.asarray(y).reshape(-1, 3).std(0), 1, rtol=1e-3)
  before = norm.mean[...]
  norm(x, train=False)
  np.testing.assert_array_equal(norm.mean[...], before)


def test_position_embedding_shares_out_channels_that_axes_do_not_divide():
  positions = layers.PositionEmbedding((2, 3, 5), 16, rngs=nnx.Rngs(0))
  assert [table.shape for table in positions.tables] == [(2, 6), (3, 5), (5, 5)]
  assert positions().shape == (2, 3, 5, 16)


def test_dropout_keeps_the_mean_and_drops_the_share():
  y = layers.dropout(jnp.ones((4, 200, 30)), 0.3, jax.random.key(0))
  for axes in ((0, 1), (1, 2)):
    np.testing.assert_allclose((y == 0).mean(axes), 0.3, atol=0.06)
  np.testing.assert_allclose((y == 0).mean((0, 2)), 0.3, atol=0.18)  # of 120 entries
  np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
  np.testing.assert_array_equal(layers.dropout(y, 0.3, None), y)


def test_dropout_of_clips_positions_and_channels_is_independent():
  y = np.asarray(layers.dropout(jnp.ones((4, 200, 30)), 0.3, jax.random.key(0)) == 0)
  for axis in range(3):
    rows = np.moveaxis(y, axis, 0).reshape(y.shape[axis], -1)
    correlated = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlated).max() < 5 / np.sqrt(rows.shape[1]), axis


def test_a_linear_layer_transposes_nothing_in_its_gradient():
  """On CPU the transposed copy of its input would take as long as the product."""
  linear = layers.Linear(24, 40, stddev=0.1, rngs=nnx.Rngs(0))
  graphdef, params = nnx.split(linear)
  gradient = jax.grad(lambda params, x: jnp.square(nnx.merge(graphdef, params)(x)).sum(), (0, 1))
  text = jax.jit(gradient).lower(params, random(0, 2, 64, 24)).compile().as_text()
  assert ' dot(' in text
  assert ' transpose(' not in text
