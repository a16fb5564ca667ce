"""Every quantizer trains and decodes; so do two made-up ones, one of them learnt by gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training import tiny
from videogpt_jax.errors import UserError
from videogpt_jax.models.quantizers import QUANTIZERS, Quantized, Quantizer
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.step import init_state, make_train_step

SIZES = {'n_codes': 8, 'embedding_dim': 6, 'n_codebooks': 2}


class Signs(Quantizer):
  """Nothing is learnt: the bits of a code are the signs of its vector."""

  @classmethod
  def check(cls, config):
    if config.n_codes != 2**config.code_dim:
      raise UserError(f'n_codes ({config.n_codes}) must be {2**config.code_dim}')

  def nearest(self, z):
    bits = z.reshape(*z.shape[:-1], self.n_codebooks, self.code_dim) > 0
    return (bits << jnp.arange(self.code_dim)).sum(-1).astype(jnp.int32)

  def lookup(self, codes, group=None):
    return ((codes[..., None] >> jnp.arange(self.code_dim)) % 2) - 0.5

  def __call__(self, z, key):
    z, codes = z.astype(jnp.float32), self.nearest(z)
    embeddings = self.lookup(codes).reshape(z.shape)
    return Quantized(z + jax.lax.stop_gradient(embeddings - z), codes, {}, {})


class Gradient(Quantizer):
  """The codebook of van den Oord et al. 2017, eq. 3: its second term moves the codes."""

  def __init__(self, config, *, rngs):
    super().__init__(config, rngs=rngs)
    shape = (self.n_codebooks, self.n_codes, self.code_dim)
    self.table = nnx.Param(jax.random.normal(rngs.params(), shape))

  def nearest(self, z):
    z = z.reshape(*z.shape[:-1], self.n_codebooks, 1, self.code_dim)
    return jnp.square(z - self.table[...]).sum(-1).argmin(-1).astype(jnp.int32)

  def lookup(self, codes, group=None):
    return self.table[...][jnp.arange(self.n_codebooks) if group is None else group, codes]

  def __call__(self, z, key):
    z, codes = z.astype(jnp.float32), self.nearest(z)
    embeddings, fixed = self.lookup(codes).reshape(z.shape), jax.lax.stop_gradient
    losses = {
      'codebook_loss': jnp.mean(jnp.square(embeddings - fixed(z))),
      'commitment_loss': 0.25 * jnp.mean(jnp.square(fixed(embeddings) - z)),
    }
    statistics = {'mean_norm': jnp.linalg.norm(embeddings, axis=-1).mean()}
    return Quantized(z + fixed(embeddings - z), codes, losses, statistics)


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
  for name, cls in {'signs': Signs, 'gradient': Gradient}.items():
    monkeypatch.setitem(QUANTIZERS, name, cls)


@functools.cache
def train(name, steps=40):
  """Returns the trained VQ-VAE, its first state and the metrics of each step."""
  config = VQVAEConfig(
    **SIZES,
    n_hiddens=8,
    n_res_layers=1,
    downsample=(2, 4, 2),
    axial_attention=False,
    quantizer=name,
    levels=(2, 2, 2) if name == 'fsq' else (),
  )
  stage, optimizer = vqvae_stage(config), OptimizerConfig(1e-2, 'constant')
  first = init_state(stage, optimizer, steps, jax.random.key(0))
  step = jax.jit(make_train_step(stage, optimizer, steps))
  state, metrics = first, []
  for _ in range(steps):
    state, scalars = step(state, None, tiny.batch(0), jax.random.key(1))
    metrics.append(scalars)
  graphdef, *_ = stage.abstract()
  return nnx.merge(graphdef, state.params, state.variables), first, metrics


@pytest.mark.parametrize('name', ['signs', 'gradient', 'ema', 'fsq', 'lfq', 'bsq'])
def test_a_quantizer_trains_decodes_and_is_looked_up(name):
  vqvae, _, metrics = train(name)
  assert metrics[-1]['reconstruction_loss'] < 0.9 * metrics[0]['reconstruction_loss']
  assert name in ('signs', 'gradient') or 1 <= metrics[-1]['batch_codebook_perplexity'] <= 8
  tokenizer = make_tokenizer(vqvae, 4, 8)
  video = tiny.batch(0)['video']
  codes = tokenizer.encode(video)
  assert codes.shape == (8, *tokenizer.latent_shape) == (8, 2, 2, 4, 2)
  assert 0 <= codes.min() < codes.max() < 8
  out = jax.jit(lambda video: vqvae(video))(video)
  quantized = out.quantized
  np.testing.assert_array_equal(quantized.codes, codes)
  vectors = tokenizer.lookup(codes)
  assert vectors.shape[-1] == tokenizer.spec.embedding_dim == vqvae.codebook.code_dim
  np.testing.assert_allclose(
    vectors.reshape(quantized.embeddings.shape), quantized.embeddings, atol=1e-5
  )
  np.testing.assert_allclose(tokenizer.decode(codes), out.reconstruction, atol=1e-4)
  flat, group = codes.reshape(8, -1), jnp.arange(codes[0].size) % 2
  one_at_a_time = vqvae.codebook.lookup(flat, group)
  np.testing.assert_array_equal(one_at_a_time, vectors.reshape(one_at_a_time.shape))
  assert tokenizer.codebook.shape == (2, 8, 3)


def test_a_quantizer_without_parameters_adds_no_state_and_no_loss():
  vqvae, _, metrics = train('signs')
  assert not jax.tree.leaves(nnx.state(vqvae.codebook))
  assert metrics[0]['loss'] == metrics[0]['reconstruction_loss']
  assert 'commitment_loss' not in metrics[0]


def test_a_quantizer_learnt_by_gradient_moves_with_the_optimiser_and_logs_its_losses():
  vqvae, first, metrics = train('gradient')
  assert np.abs(vqvae.codebook.table[...] - first.params['codebook']['table'][...]).max() > 1e-3
  names = ('reconstruction_loss', 'codebook_loss', 'commitment_loss')
  assert metrics[0]['loss'] == pytest.approx(
    float(sum(metrics[0][name] for name in names)), rel=1e-6
  )
  assert metrics[0]['mean_norm'] > 0


def test_an_unknown_quantizer_is_refused_with_those_there_are():
  with pytest.raises(UserError, match=r"vqvae.quantizer 'odd' is not one of \('ema', .*'signs'"):
    VQVAEConfig(quantizer='odd')
  with pytest.raises(UserError, match=r'n_codes \(9\) must be 8'):
    VQVAEConfig(**(SIZES | {'n_codes': 9}), quantizer='signs')
