"""Shapes of every down-sampling, and what a VQ-VAE may not depend on."""

import jax
import numpy as np
import pytest
from flax import nnx

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
    ({'n_hiddens': 10}, r'n_hiddens \(10\) must be divisible'),
    ({'n_codebooks': 4}, r'embedding_dim \(6\) must be divisible by n_codebooks \(4\)'),
  ],
)
def test_impossible_sizes_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    VQVAEConfig(**(SMALL | change))


def test_a_resolution_that_does_not_fit_names_those_that_do():
  with pytest.raises(ValueError, match=r'resolution \(60\) must be divisible .* use 56 or 64'):
    VQVAEConfig(downsample=(4, 8, 8)).latent_shape(16, 60)
