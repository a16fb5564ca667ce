"""Costs of the paper's rows, against the documentation's table and a hand-made count."""

import pathlib
import re

import jax
import pytest
from flax import nnx

from benchmarks import costs
from configs import paper
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec

_TABLE = pathlib.Path(__file__).parents[2] / 'docs' / 'paper.md'


def _documented():
  row = r'^\|.*`configs/(\w+)\.py:?(\w*)` \| [^|]* \| (.*?) \| (.*?) \|'
  rows = re.findall(row, _TABLE.read_text(), re.MULTILINE)
  return {f'{name}:{argument}'.rstrip(':'): cells for name, argument, *cells in rows}


def test_every_row_is_documented():
  assert set(_documented()) == {':'.join(row) for row in costs.ROWS}


@pytest.mark.parametrize('name', _documented())
def test_the_documentation_tells_what_is_counted(name):
  parameters, planned = _documented()[name]
  counted = costs.describe(costs.cost(costs.experiments()[name]))
  assert counted[0] == parameters
  numbers = [list(map(float, re.findall(r'[0-9.]+', text))) for text in (counted[1], planned)]
  assert numbers[0] == pytest.approx(numbers[1], rel=0.03)  # XLA may count a little otherwise


def test_a_prior_without_conditioning_costs_two_operations_a_weight_and_code():
  spec = CodeSpec((2, 4, 4), n_codes=7, embedding_dim=5, sequence_length=4, resolution=8)
  prior = nnx.eval_shape(lambda: Prior(paper.prior(12, 2, 3, 20), spec, rngs=nnx.Rngs(0)))
  weights = 5 * 12 + 3 * (4 * 12 * 12 + 2 * 12 * 20) + 12 * 7
  attention = 3 * 2 * 32 * 32 * 12
  assert costs._prior_flops(prior) == 2 * 32 * weights + attention


def test_xla_counts_a_convolution():
  conv = nnx.eval_shape(lambda: nnx.Conv(3, 4, (1, 1), use_bias=False, rngs=nnx.Rngs(0)))
  x = jax.ShapeDtypeStruct((1, 5, 6, 3), 'float32')
  assert costs._forward_flops(conv, lambda conv, x: conv(x), x) == 2 * 5 * 6 * 3 * 4
