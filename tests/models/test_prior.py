"""The prior: causality, conditioning, dropout, masks."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.models.attention import strided_mask
from videogpt_jax.models.conditioners import wanted
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig

SPEC = CodeSpec((2, 3, 4), n_codes=7, embedding_dim=5, sequence_length=6, resolution=8)
SIZES = {'hidden_dim': 24, 'n_heads': 2, 'n_layers': 2, 'resnet_dim': 12, 'resnet_depth': 18}
SPARSE = {'attn_type': 'sparse', 'attn_block': 4, 'n_local_blocks': 1}
KINDS = {
  'full': {},
  'sparse': SPARSE,
  'class': {'n_classes': 3},
  'actions': {'action_dim': 2},
  'paper': {'head_dim': 10, 'attn_bias': False, 'codebook_axis': True, 'vector_dim': 3},
  'frames': {'n_cond_frames': 1, 'n_classes': 3},
  'rotary': {'positions': 'rotary'},
  'modern': {
    'positions': 'rotary',
    'qk_norm': True,
    'norm': 'rms',
    'mlp': 'swiglu',
    'n_classes': 3,
  },
  'modern sparse': {
    'positions': 'rotary',
    'qk_norm': True,
    'norm': 'rms',
    'mlp': 'swiglu',
    **SPARSE,
  },
  'window': {'positions': 'rotary', 'attn_type': 'window', 'attn_window': 1, 'action_dim': 2},
  'class sparse': {'n_classes': 3, **SPARSE},
  'actions sparse': {'action_dim': 2, **SPARSE},
  'frames sparse': {'n_cond_frames': 1, 'n_classes': 3, **SPARSE},
}


def make(kind, spec=SPEC):
  """A prior whose every part matters, and its condition for two clips."""
  config = PriorConfig(**SIZES, **KINDS[kind])
  prior = Prior(config, spec, rngs=nnx.Rngs(0))
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  prior.fc_in.kernel[...] *= 50
  size = (2, config.n_cond_frames, *spec.frame_size, 3)
  conditions = {
    'class_label': jnp.array([0, 2]),
    'frames': jax.random.normal(jax.random.key(2), size),
    'actions': jax.random.normal(jax.random.key(3), (2, 6, 2)),
    'vector': jax.random.normal(jax.random.key(3), (2, 3)),
  }
  return prior, {name: x for name, x in conditions.items() if name in wanted(config)}


@pytest.mark.parametrize('kind', KINDS)
def test_logits_see_earlier_codes_only(kind):
  prior, conditions = make(kind)
  condition = prior.condition(conditions)
  embeddings = jax.random.normal(jax.random.key(4), (2, *SPEC.latent_shape, 5))
  L, probe = 24, 13

  def logit(embeddings):
    return prior(embeddings, condition).reshape(2, L, -1)[:, probe].sum()

  grads = np.abs(jax.jit(jax.grad(logit))(embeddings)).reshape(2, L, 5).max(axis=(0, 2))
  assert (grads[probe:] == 0).all()
  admitted = np.asarray(prior.mask.rows(jnp.array([probe]), jnp.arange(L)))[0]
  # Position p sees the code before p, so codes are one ahead of what the mask admits.
  assert (grads[:probe][admitted[1 : probe + 1]] > 0).all()


@pytest.mark.parametrize('kind', ['class', 'actions', 'frames', 'paper'])
def test_every_condition_matters(kind):
  prior, conditions = make(kind)
  embeddings = jax.random.normal(jax.random.key(4), (2, *SPEC.latent_shape, 5))
  run = jax.jit(lambda conditions: prior(embeddings, prior.condition(conditions)))
  before = run(conditions)
  for name, value in conditions.items():
    changed = conditions | {name: value[::-1]}
    assert np.abs(run(changed) - before).max() > 1e-3


def test_an_action_reaches_the_norms_of_its_own_latent_frame_only():
  prior, conditions = make('actions')
  # It leads from frame 4 to frame 5, both in the second of two latent frames.
  other = conditions['actions'].at[:, 4].add(1.0)
  before = prior.condition(conditions).norm
  changed = np.abs(prior.condition({'actions': other}).norm - before).max(axis=(0, 2)) > 0
  np.testing.assert_array_equal(changed, [False, True])


def test_logits_of_bfloat16_are_not_rounded_to_it():
  config = PriorConfig(**SIZES, dtype='bfloat16')
  prior = Prior(config, SPEC, rngs=nnx.Rngs(0))
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  logits = prior.logits(jax.random.normal(jax.random.key(2), (2, 24, 24), jnp.bfloat16), None)
  rounded = logits.astype(jnp.bfloat16).astype(jnp.float32)
  assert logits.dtype == jnp.float32 and (logits != rounded).mean() > 0.9


def test_dropout_needs_a_key_and_depends_on_it():
  prior, conditions = make('full')
  condition = prior.condition(conditions)
  embeddings = jax.random.normal(jax.random.key(4), (2, *SPEC.latent_shape, 5))
  run = jax.jit(lambda key: prior(embeddings, condition, key))
  np.testing.assert_array_equal(run(None), run(None))
  loud = [run(jax.random.key(i)) for i in (0, 1, 0)]
  np.testing.assert_array_equal(loud[0], loud[2])
  assert np.abs(loud[0] - loud[1]).max() > 1e-3


@pytest.mark.parametrize('remat', ['dots', 'full'])
def test_rematerialisation_changes_no_gradient(remat):
  embeddings = jax.random.normal(jax.random.key(4), (2, *SPEC.latent_shape, 5))

  def gradient(remat):
    prior = Prior(PriorConfig(**SIZES, remat=remat), SPEC, rngs=nnx.Rngs(0))
    prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
    graphdef, state = nnx.split(prior)

    def loss(state):
      prior = nnx.merge(graphdef, state)
      return jnp.square(prior(embeddings, prior.condition({}), jax.random.key(0))).sum()

    return jax.jit(jax.grad(loss))(state)

  for a, b in zip(*map(jax.tree.leaves, (gradient(remat), gradient('none'))), strict=True):
    assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b)


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({}, 'conditioned on class_label; give class_label'),
    ({'class_label': jnp.zeros(2, int), 'frames': jnp.zeros((2, 1, 8, 8, 3))}, 'leave frames out'),
  ],
)
def test_conditions_that_do_not_fit_are_refused(given, message):
  with pytest.raises(ValueError, match=message):
    make('class')[0].condition(given)


def test_a_block_that_does_not_divide_the_grid_names_those_that_do():
  with pytest.raises(ValueError, match=r'blocks of 32 do not divide the 48 .*blocks that do: \['):
    strided_mask((4, 6, 8), 32, 4)


@pytest.mark.parametrize(('shape', 'block'), [((3, 5, 32), 64), ((4, 6, 8), 32), ((2, 3, 5), 4)])
def test_every_block_that_is_named_instead_divides_the_grid(shape, block):
  with pytest.raises(ValueError, match='do not divide') as refusal:
    strided_mask(shape, block, 4)
  options = json.loads(str(refusal.value).split('blocks that do: ')[1])
  assert options
  for option in options:
    assert len(strided_mask(shape, option, 4).layout) * option == math.prod(shape)


def test_heads_that_do_not_divide_the_width_are_refused():
  with pytest.raises(ValueError, match=r'hidden_dim \(30\) must be divisible by n_heads \(4\)'):
    PriorConfig(hidden_dim=30)
