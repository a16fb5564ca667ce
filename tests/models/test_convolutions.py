"""Convolutions against XLA's own, evaluated the plain way; how they pad time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.models import convolutions
from videogpt_jax.models.convolutions import Conv3D, ConvTranspose3D, video_padding

DIMENSIONS = ('NDHWC', 'DHWIO', 'NDHWC')


def random(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize('stride', [(1, 1, 1), (2, 2, 2), (2, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize('size', [1, 3, 4])
@pytest.mark.parametrize('channels', [(5, 7), (8, 2)])
def test_conv3d_equals_the_strided_convolution(size, stride, channels):
  """With more channels, and with far fewer, which the CPU evaluates otherwise."""
  x, kernel = random(0, 2, 4, 6, 8, channels[0]), random(1, size, size, size, *channels)
  padding = [(size // 2, size // 2)] * 3 if size % 2 else video_padding((4, 4, 4), stride)

  def plain(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=DIMENSIONS)

  def ours(x, kernel):
    return convolutions.conv3d(x, kernel, stride, padding)

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
  edges = video_padding((4, 4, 4), stride)
  padded = jnp.pad(x, [(0, 0), *edges, (0, 0)])
  full = [s * (n - 1) + 4 for n, s in zip(padded.shape[1:4], stride, strict=True)]

  def forward(y):
    return jax.lax.conv_general_dilated(
      y, kernel.swapaxes(3, 4), stride, 'VALID', dimension_numbers=DIMENSIONS
    )

  adjoint = jax.vjp(forward, jnp.zeros((2, *full, 3)))[1](padded)[0]
  np.testing.assert_allclose(
    convolutions.conv3d_transpose(x, kernel, stride, edges), adjoint[:, 3:-3, 3:-3, 3:-3], atol=1e-4
  )


@pytest.mark.parametrize('time', ['same', 'causal'])
@pytest.mark.parametrize('stride', [(2, 2, 2), (1, 2, 2)])
def test_conv3d_transpose_is_the_adjoint_of_the_convolution_padded_the_other_way_round(
  stride, time
):
  x, kernel = random(0, 2, 3, 4, 5, 6), random(1, 4, 4, 4, 6, 3)
  edges = video_padding((4, 4, 4), stride, time)

  def forward(y):
    return jax.lax.conv_general_dilated(
      y, kernel.swapaxes(3, 4), stride, [edge[::-1] for edge in edges], dimension_numbers=DIMENSIONS
    )

  size = [n * s for n, s in zip(x.shape[1:4], stride, strict=True)]
  (adjoint,) = jax.vjp(forward, jnp.zeros((2, *size, 3)))[1](x)
  ours = convolutions.conv3d_transpose(x, kernel, stride, edges)
  np.testing.assert_allclose(ours, adjoint, atol=1e-4)


def distances_seen(layer, stride, up=False):
  """How far ahead, in strides, the frames lie that some frame of the output depends on."""
  x = random(0, 1, 4 if up else 8, 4, 4, 2)
  jacobian = jax.jacobian(lambda x: layer(x)[0, :, 1, 1, 0])(x)
  outputs, inputs = np.nonzero(np.abs(jacobian).max((1, 3, 4, 5)))
  return set(inputs - outputs // stride if up else inputs // stride - outputs)


@pytest.mark.parametrize(
  ('padding', 'seen'),
  [('same', {-1, 0, 1}), ('causal', {-1, 0}), ('none', {0}), ('ahead', {0, 1})],
)
def test_padding_in_time_decides_what_up_and_down_sampling_see(padding, seen, monkeypatch):
  """Also one that is made up, and sees nothing behind."""
  monkeypatch.setitem(convolutions.TIME_PADDINGS, 'ahead', lambda k, s: (0, k - s))
  options = {'stride': (2, 1, 1), 'time_padding': padding, 'rngs': nnx.Rngs(0)}
  assert distances_seen(Conv3D(2, 3, 4, **options), 2) == seen
  assert distances_seen(ConvTranspose3D(2, 3, 4, **options), 2, up=True) == seen


def test_without_padding_in_time_a_kernel_is_as_long_as_its_stride():
  options = {'time_padding': 'none', 'rngs': nnx.Rngs(0)}
  assert Conv3D(2, 3, 3, **options).kernel.shape == (1, 3, 3, 2, 3)
  assert Conv3D(2, 3, 4, stride=(2, 2, 1), **options).kernel.shape == (2, 4, 4, 2, 3)
  assert ConvTranspose3D(2, 3, 4, stride=(1, 2, 2), **options).kernel.shape == (1, 4, 4, 2, 3)


@pytest.mark.parametrize('size', [3, 4])
def test_causal_padding_sees_as_many_frames_and_none_ahead(size):
  options = {'stride': (1, 1, 1), 'time_padding': 'causal', 'rngs': nnx.Rngs(0)}
  assert distances_seen(Conv3D(2, 3, size, **options), 1) == set(range(1 - size, 1))
  assert distances_seen(ConvTranspose3D(2, 3, size, **options), 1) == set(range(1 - size, 1))
