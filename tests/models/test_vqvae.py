"""Shapes of every down-sampling, and what a VQ-VAE may not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.models.spec import code_spec
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig

SMALL = {'embedding_dim': 6, 'n_codes': 11, 'n_hiddens': 8, 'n_res_layers': 1}


@pytest.mark.parametrize(
  ('downsample', 'n_codebooks'), [((2, 2, 2), 1), ((4, 2, 2), 2), ((1, 4, 4), 1), ((8, 1, 1), 2)]
)
def test_every_downsampling_goes_there_and_back(downsample, n_codebooks):
  config = VQVAEConfig(**SMALL, downsample=downsample, n_codebooks=n_codebooks)
  vqvae = VQVAE(config, rngs=nnx.Rngs(0))
  video = jax.random.uniform(jax.random.key(0), (2, 8, 16, 16, 3)) - 0.5
  codes = jax.jit(lambda v: vqvae.encode(v))(video)
  assert codes.shape == (2, *config.latent_shape(8, 16))
  assert jax.jit(lambda c: vqvae.decode(c))(codes).shape == video.shape


def test_height_and_width_differ():
  """All sizes, and all down-sampling, are unequal: no axis may stand for another."""
  config = VQVAEConfig(**SMALL, downsample=(2, 8, 4))
  vqvae = VQVAE(config, rngs=nnx.Rngs(0))
  video = jax.random.uniform(jax.random.key(0), (2, 6, 32, 20, 3)) - 0.5
  codes = jax.jit(lambda v: vqvae.encode(v))(video)
  assert codes.shape == (2, *config.latent_shape(6, (32, 20))) == (2, 3, 4, 5)
  assert jax.jit(lambda c: vqvae.decode(c))(codes).shape == video.shape
  spec = code_spec(config, 6, (32, 20))
  assert (spec.latent_shape, spec.clip_shape) == ((3, 4, 5), (6, 32, 20, 3))


def test_without_attention_there_are_no_attention_parameters():
  with_, without = (
    nnx.eval_shape(lambda on=on: VQVAE(VQVAEConfig(**SMALL, axial_attention=on), rngs=nnx.Rngs(0)))
    for on in (True, False)
  )
  paths = [str(path) for path, _ in nnx.to_flat_state(nnx.state(without))]
  assert not any('attention' in path for path in paths)
  assert len(nnx.to_flat_state(nnx.state(with_))) > len(paths)


def test_evaluation_does_not_depend_on_the_rest_of_the_batch_and_learns_nothing():
  vqvae = VQVAE(VQVAEConfig(**SMALL), rngs=nnx.Rngs(0))
  video = jax.random.uniform(jax.random.key(0), (3, 4, 8, 8, 3)) - 0.5
  graphdef, state = nnx.split(vqvae)

  @jax.jit
  def run(video):
    model = nnx.merge(graphdef, state, copy=True)
    return model(video).z, nnx.state(model)

  z, after = run(video)
  np.testing.assert_allclose(run(video[1:2])[0][0], z[1], atol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, state, after)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'downsample': (3, 4, 4)}, r'downsample \(3, 4, 4\) must be three powers of two'),
    ({'n_hiddens': 9}, r'n_hiddens \(9\) must be even'),
    ({'n_hiddens': 9, 'residual_dim': 4}, r'n_hiddens \(9\) must be divisible by n_heads'),
    ({'n_codebooks': 4}, r'embedding_dim \(6\) must be divisible by n_codebooks \(4\)'),
  ],
)
def test_impossible_sizes_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    VQVAEConfig(**(SMALL | change))


def test_a_resolution_that_does_not_fit_names_those_that_do():
  with pytest.raises(ValueError, match=r'resolution \(60\) must be divisible .* use 56 or 64'):
    VQVAEConfig(downsample=(4, 8, 8)).latent_shape(16, 60)
  with pytest.raises(UserError, match=r'^height \(60\) must be divisible .* \(8\); use 56 or 64'):
    VQVAEConfig(downsample=(4, 8, 4)).latent_shape(16, (60, 60))
  with pytest.raises(UserError, match=r'^width \(60\) must be divisible .* \(8\); use 56 or 64'):
    VQVAEConfig(downsample=(4, 4, 8)).latent_shape(16, (60, 60))
  with pytest.raises(UserError, match=r'^18 frames do not fill latent frames of 4; use 16 or 20'):
    VQVAEConfig().latent_shape(18, 64)


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('norm', "'batch', 'channel'"),
    ('time_padding', "'same', 'causal'"),
    ('time_mask', "'none', 'causal'"),
    ('quantizer', "'ema'"),
  ],
)
def test_an_unknown_option_is_refused_with_those_there_are(name, options):
  with pytest.raises(UserError, match=rf"vqvae.{name} 'odd' is not one of \({options}"):
    VQVAEConfig(**{name: 'odd'})


CAUSAL = {'norm': 'channel', 'time_padding': 'causal', 'time_mask': 'causal'}


@pytest.mark.parametrize(
  ('options', 'change'),
  [
    ({}, {}),
    ({}, {'time_padding': 'same'}),
    ({}, {'time_mask': 'none'}),
    ({'first_frame_alone': True, 'norm': 'group'}, {}),
    ({'first_frame_alone': True, 'norm': 'rms'}, {'time_mask': 'none'}),
  ],
)
def test_no_latent_frame_depends_on_later_frames_nor_a_frame_on_later_latents(options, change):
  """By gradients, in training. Leaving out either option lets the future through."""
  config = VQVAEConfig(**SMALL, downsample=(2, 2, 1), **(CAUSAL | options | change))
  vqvae = VQVAE(config, rngs=nnx.Rngs(0))
  n_frames = config.time_grid.frames(4)
  video = jax.random.uniform(jax.random.key(0), (1, n_frames, 4, 4, 3)) - 0.5
  z = jax.random.normal(jax.random.key(1), (1, 4, 2, 4, 6))

  def reach(f, x):
    """bool [T' T]: whether entry T' of the output depends on entry T of the input."""

    @jax.jit
    def gradients(x):
      y, pull = jax.vjp(f, x)
      weights = jax.random.normal(jax.random.key(2), y.shape)
      rows = jnp.eye(y.shape[1])[:, None, :, None, None, None] * weights
      return jax.vmap(lambda row: pull(row)[0])(rows)

    return np.abs(gradients(x)).max((1, 3, 4, 5)) > 0

  encoded = reach(lambda v: vqvae.latents(v, train=True), video)
  decoder = vqvae.decoder
  decoded = reach(lambda z: decoder.last(decoder.features(vqvae.post_vq_conv(z), True)), z)
  t, T = np.indices((4, n_frames))
  own = (T + config.first_frame_alone) // 2  # the latent frame of each frame
  assert encoded[own <= t].all()
  assert decoded.T[own >= t].all()
  later = [encoded[own > t].any(), decoded.T[own < t].any()]
  assert later == [bool(change)] * 2
