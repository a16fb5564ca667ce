"""What the benchmarks of attention say of memory and operations, held to compiled figures."""

import pytest

from benchmarks import attention, steps
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig

SIZES = {'hidden_dim': 32, 'n_heads': 2, 'n_layers': 2}


def spec(t):
  return CodeSpec((t, 32, 32), n_codes=16, embedding_dim=8, sequence_length=4 * t, resolution=64)


@pytest.mark.parametrize('attn_type', ['full', 'sparse'])
@pytest.mark.parametrize('remat', ['none', 'dots', 'full'])
@pytest.mark.slow
def test_training_memory_is_linear_in_the_number_of_codes(remat, attn_type):
  config = PriorConfig(**SIZES, attn_type=attn_type, remat=remat)
  few, many = (attention.training_memory(config, spec(t)) for t in (1, 64))
  assert 32 * few < many < 1.1 * 64 * few


def test_keeping_less_needs_less_memory():
  sizes = [
    attention.training_memory(PriorConfig(**SIZES, remat=remat), spec(4))
    for remat in ('none', 'dots', 'full')
  ]
  assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize('mlp', ['gelu', 'swiglu'])
def test_operations_of_a_step_are_those_of_the_compiled_products(mlp):
  """Held to what XLA counts without attention's products, which grow with L alone here."""
  config = PriorConfig(64, n_heads=2, n_layers=1, attn_dropout=0.0, dropout=0.0, mlp=mlp)
  short, long = (
    CodeSpec((t, 4, 4), n_codes=512, embedding_dim=64, sequence_length=4, resolution=16)
    for t in (1, 2)
  )
  # Dense attention computes both halves of the scores: once more what prior_flops counts for it.
  for spec, L in ((short, 16), (long, 32)):
    counted = steps.prior_flops(config, spec, batch_size=1) + 6.0 * L * 64 * L
    compiled = attention.compiled_gradient(config, spec).cost_analysis()['flops']
    assert 0.8 * counted < compiled < 1.25 * counted
