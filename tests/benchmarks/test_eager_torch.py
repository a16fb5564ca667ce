"""The baseline computes what our prior computes, at once and code by code; needs PyTorch."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import SIZES, SPEC, make

torch = pytest.importorskip('torch', reason='PyTorch is an optional extra: pip install torch')


def eager_twin(prior, codebook):
  """The baseline with our prior's weights."""
  from benchmarks.eager_torch import EagerPrior, Sizes

  names = {'hidden_dim', 'n_heads', 'n_layers'}
  sizes = {name: SIZES[name] for name in names}
  eager = EagerPrior(Sizes(SPEC.latent_shape, SPEC.n_codes, SPEC.embedding_dim, **sizes))
  weights = {'codebook': codebook, 'sos': prior.sos[...]}
  weights |= {f'positions.{i}': t[...] for i, t in enumerate(prior.positions.tables)}
  pairs = [(name, getattr(prior, name), getattr(eager, name)) for name in ('fc_in', 'fc_out')]
  pairs += [('norm', prior.norm, eager.norm)]
  for i, block in enumerate(prior.unstacked_blocks()):
    pairs += [
      (f'blocks.{i}.{name}', getattr(block, name), getattr(eager.blocks[i], name))
      for name in ('attn_norm', 'mlp_norm', 'mlp_in', 'mlp_out')
    ]
    pairs += [
      (f'blocks.{i}.attn.{name}', getattr(block.attn, name), getattr(eager.blocks[i].attn, name))
      for name in ('query', 'key', 'value', 'out')
    ]
  for name, ours, theirs in pairs:
    _, state = nnx.split(ours)
    for leaf, value in nnx.to_pure_dict(state).items():
      weights[f'{name}.{leaf.replace("kernel", "weight")}'] = np.asarray(value).T
    assert len(list(theirs.parameters())) == len(nnx.to_pure_dict(state))
  eager.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in weights.items()})
  return eager.eval()


def test_it_computes_our_logits_and_samples_from_them(monkeypatch):
  prior, _ = make('full')
  codebook = jax.random.normal(jax.random.key(5), (7, 5))
  eager = eager_twin(prior, codebook)
  codes = np.random.default_rng(0).integers(0, 7, (2, 24))
  ours = prior(codebook[codes.reshape(2, *SPEC.latent_shape)], prior.condition({}))
  with torch.no_grad():
    theirs = eager(torch.tensor(codes))
  np.testing.assert_allclose(theirs, ours.reshape(2, 24, 7), atol=1e-4)

  # Taking the most likely code at every step must agree with the logits at once.
  monkeypatch.setattr(torch, 'multinomial', lambda p, n: p.argmax(-1, keepdim=True))
  greedy = eager.sample(2)
  with torch.no_grad():
    again = eager(greedy).argmax(-1)
  np.testing.assert_array_equal(greedy, again)
