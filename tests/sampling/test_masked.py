"""Masked parallel decoding: its schedule, what it keeps, and what priors for it see."""

import dataclasses
import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import SIZES
from tests.sampling.test_loop import CODEBOOK
from tests.test_generation import videogpt
from tests.test_main import CONFIG as TINY
from tests.test_main import call
from videogpt_jax.errors import UserError
from videogpt_jax.models.code_factors import code_factors
from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.sampling import masked
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.sampling.strategies import strategy_for
from videogpt_jax.stages import train_prior
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.training.sharding import MeshConfig, make_mesh

SPEC = CodeSpec((2, 3, 4), n_codes=7, embedding_dim=5, sequence_length=6, resolution=8)
L = 24
CONFIG = PriorConfig(**SIZES, target='masked', n_classes=3, dropout=0.0, attn_dropout=0.0)
TOKENIZER = VQVAEConfig(
  n_codes=7, embedding_dim=5, n_hiddens=8, n_res_layers=1, downsample=(2, 2, 2)
)
KEYS = jax.random.split(jax.random.key(7), 3)


def lookup(codes):
  return CODEBOOK[0][codes]


def make(config=CONFIG):
  """A prior whose every part matters, and its condition for three clips."""
  prior = Prior(config, SPEC, rngs=nnx.Rngs(0))
  prior.fc_out.kernel[...] = 0.2 * jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  prior.fc_in.kernel[...] *= 50
  return prior, prior.condition({'class_label': jnp.array([0, 1, 2])})


class Counter:
  """A prior to which every code of a pass is the number of codes that are known."""

  def __init__(self, length):
    self.codes = CodeSpec((length, 1, 1), length, 1, length, 8)
    self.length, self.factors = length, code_factors(1, (length,))

  def __call__(self, embeddings, condition, key=None, known=None):
    del condition, key
    n = known.reshape(len(known), -1).sum(axis=1)
    logits = 1000 * jax.nn.one_hot(n, self.length)
    return jnp.broadcast_to(logits[:, None, None, None], (*embeddings.shape[:-1], self.length))


def counted(length, passes, n_given=0):
  """How many codes each pass has kept, by the number of codes known before it."""
  given = jnp.zeros((3, n_given), jnp.int32)
  look = lambda codes: codes[..., None].astype(jnp.float32)
  nothing, controls = Condition(None, None), Controls()
  out = masked.decode(Counter(length), look, nothing, KEYS, controls, given, passes=passes)
  drawn = np.asarray(out.codes).reshape(3, -1)[:, n_given:]
  return [dict(zip(*np.unique(row, return_counts=True), strict=True)) for row in drawn]


@pytest.mark.parametrize(('length', 'passes', 'n_given'), [(64, 8, 0), (64, 5, 16), (16, 1, 0)])
def test_passes_keep_as_many_codes_as_the_cosine_schedule_says(length, passes, n_given):
  free = length - n_given
  left = [math.floor(math.cos(math.pi / 2 * i / passes) * free) for i in range(passes)] + [0]
  wanted = {length - before: before - after for before, after in itertools.pairwise(left)}
  assert counted(length, passes, n_given) == [wanted] * 3


def test_with_as_many_passes_as_codes_each_pass_keeps_one():
  assert counted(12, 12) == [dict.fromkeys(range(12), 1)] * 3


@pytest.mark.parametrize('controls', [Controls(), Controls(temperature=0.8, top_k=3, guidance=2.0)])
def test_codes_are_drawn_from_the_logits_they_were_kept_by(controls):
  prior, condition = make()
  given = jax.random.randint(jax.random.key(2), (3, 5), 0, 7)
  out = masked.decode(prior, lookup, condition, KEYS, controls, given, True, passes=4)
  codes = np.asarray(out.codes).reshape(3, L)
  np.testing.assert_array_equal(codes[:, :5], given)
  log_p = jax.nn.log_softmax(out.logits.reshape(3, L, 7))
  each = np.take_along_axis(np.asarray(log_p), codes[..., None], axis=-1)[:, 5:, 0]
  np.testing.assert_allclose(out.log_likelihood, each.sum(axis=1), rtol=1e-4)
  np.testing.assert_array_equal(out.passes, 4)


def test_greedy_codes_are_the_likeliest_of_those_logits():
  prior, condition = make()
  out = masked.decode(
    prior, lookup, condition, KEYS, Controls(temperature=None), with_logits=True, passes=4
  )
  np.testing.assert_array_equal(out.codes, out.logits.argmax(axis=-1))


def test_a_clip_does_not_depend_on_its_batch_and_does_on_its_key():
  prior, condition = make()
  decode = jax.jit(lambda c, keys: masked.decode(prior, lookup, c, keys, Controls()).codes)
  together = decode(condition, KEYS)
  alone = decode(jax.tree.map(lambda x: x[1:2], condition), KEYS[1:2])
  np.testing.assert_array_equal(together[1], alone[0])
  assert (together != decode(condition, jax.random.split(jax.random.key(8), 3))).any()


def test_a_prior_sees_all_known_codes_and_nothing_of_masked_ones():
  prior, condition = make()
  embeddings = jax.random.normal(jax.random.key(4), (3, *SPEC.latent_shape, 5))
  known = jnp.arange(L) % 3 > 0
  probe = 12  # masked itself

  def logit(embeddings):
    shape = 3, *SPEC.latent_shape
    logits = prior(embeddings, condition, known=jnp.tile(known, (3, 1)).reshape(shape))
    return logits.reshape(3, L, -1)[:, probe].sum()

  seen = np.abs(jax.grad(logit)(embeddings)).max(axis=-1).reshape(3, L) > 0
  np.testing.assert_array_equal(seen, np.tile(known, (3, 1)))


def test_strategies_and_targets_must_fit():
  plain = dataclasses.replace(CONFIG, target='next')
  assert strategy_for('auto', CONFIG) == 'masked'
  assert strategy_for('auto', plain) == 'sequential'
  with pytest.raises(UserError, match=r"'speculative' does not fit .*target='masked'; use masked"):
    SamplingSettings(strategy='speculative').check(7, CONFIG)
  with pytest.raises(UserError, match=r"'masked' does not fit .*target='next'; use sequential or"):
    SamplingSettings(strategy='masked').check(7, plain)
  with pytest.raises(UserError, match=r'passes \(4\) are for a prior with prior.target=masked'):
    SamplingSettings(passes=4).check(7, plain)
  with pytest.raises(UserError, match=r"target='masked' needs prior.attn_type='full'"):
    dataclasses.replace(CONFIG, attn_type='window', attn_window=1)


@pytest.mark.slow
def test_a_run_with_masked_codes_trains_samples_and_goes_on_beyond_a_clip(tmp_path):
  run, masks = tmp_path / 'run', '--config.prior.target=masked'
  done = call('main', TINY, masks, f'--workdir={run}', '--stages=vqvae,prior')
  assert done.returncode == 0, done.stderr
  flags = ['--num=2', '--passes=3', '--num_frames=6', f'--out={tmp_path / "out"}']
  done = call('sample', f'--model={run}', *flags)
  assert done.returncode == 0, done.stderr
  told = json.loads((tmp_path / 'out' / 'samples.json').read_text())['settings']
  assert (told['num'], told['passes'], told['num_frames']) == (2, 3, 6)
  assert (tmp_path / 'out' / 'samples.mp4').stat().st_size > 0
  done = call('sample', f'--model={run}', '--strategy=sequential', f'--out={tmp_path / "no"}')
  assert done.returncode == 1 and "does not fit a prior with prior.target='masked'" in done.stderr


def test_an_untrained_prior_scores_as_chance():
  """Nats a code are log K, whatever is masked, in training and in evaluation."""
  prior = Prior(CONFIG, SPEC, rngs=nnx.Rngs(0))  # whose last layer is zeros
  tokenizer = make_tokenizer(VQVAE(TOKENIZER, rngs=nnx.Rngs(0)), 6, 8)
  codes = jax.random.randint(jax.random.key(2), (3, *SPEC.latent_shape), 0, 7)
  batch = {'codes': codes, 'label': jnp.array([0, 1, 2])}
  nats, _ = train_prior.loss(CONFIG, prior, tokenizer, batch, jax.random.key(0))
  scored = train_prior.evaluate(prior, tokenizer, batch)['nats_per_code']
  np.testing.assert_allclose([nats, *scored], math.log(7), rtol=1e-5)


def test_several_devices_draw_the_same_codes():
  gpt = videogpt(n_classes=3, target='masked')
  request = gpt.request(4, seed=2, class_label=[0, 1, 2, 0], passes=3)
  together = gpt.on_mesh(make_mesh(MeshConfig(data=2, tensor=2), jax.devices()[:4]))
  np.testing.assert_array_equal(together.generate(request).codes, gpt.generate(request).codes)
