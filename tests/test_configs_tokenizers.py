"""The configurations of tokenizers: equal bits a clip, causal where the name says so, the grids."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import tokenizers
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.vqvae import VQVAE


@pytest.mark.parametrize('name', tokenizers.VARIANTS)
def test_a_variant_is_what_its_name_says(name):
  experiment = from_dict(tokenizers.get_config(name))
  assert experiment.name == name and experiment.vqvae.quantizer == name.split('_')[0]
  if name in tokenizers.QUANTIZERS:
    with pytest.raises(UserError, match="time_padding is 'same'"):
      experiment.vqvae.check_streams()
  else:
    experiment.vqvae.check_streams()
  loss = experiment.vqvae_loss
  assert bool(loss.perceptual and loss.adversarial) == name.endswith('_sharp')
  codes = experiment.codes
  if '4x' in name:
    factor = int(name.rsplit('x', 1)[1])
    assert codes.clip_shape == (17, 256, 256, 3)
    assert codes.latent_shape == (5, 256 // factor, 256 // factor)
  else:
    assert math.prod(codes.latent_shape) * np.log2(codes.n_codes) == 12_288
  config = experiment.vqvae
  vqvae = nnx.eval_shape(lambda: VQVAE(config, codes.latent_shape, rngs=nnx.Rngs(0)))
  video = jax.ShapeDtypeStruct((1, *codes.clip_shape), jnp.float32)
  assert nnx.eval_shape(lambda m, v: m.encode(v), vqvae, video).shape == (1, *codes.latent_shape)


def test_the_prior_over_64000_codes_has_two_heads():
  found = from_dict(tokenizers.get_config('fsq_4x16x16'))
  prior = nnx.eval_shape(lambda: Prior(found.prior, found.codes, rngs=nnx.Rngs(0)))
  assert prior.factors.sizes == (512, 125) and prior.fc_out.kernel.shape == (1024, 637)


def test_a_variant_that_does_not_exist_is_refused_with_those_that_do():
  with pytest.raises(
    UserError, match=r"tokenizer \('vq'\) must be one of ema, fsq, fsq_clip, lfq, bsq"
  ):
    tokenizers.get_config('vq')


def test_history_needs_a_tokenizer_that_takes_a_video_in_pieces():
  causal, other = (tokenizers.get_config(name) for name in ('fsq_causal', 'fsq'))
  for config in (causal, other):
    config.prior.history = 3
  assert from_dict(causal).prior_clips.sequence_length == 16 + 3 * 4
  with pytest.raises(UserError, match='cannot take a video in pieces'):
    from_dict(other)
