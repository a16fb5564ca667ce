"""The TPU's kernel compiles for a TPU at full size, chosen by the devices of the placement.

Needs libtpu, not a TPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from videogpt_jax.models import placement
from videogpt_jax.models.attention import CausalMask, attention, make_dropout, strided_mask
from videogpt_jax.planning import compiler
from videogpt_jax.planning.chips import parse_topology

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(bool(compiler.missing()), reason=compiler.MISSING),
]

MASKS = {'causal': CausalMask(), 'strided': strided_mask((4, 32, 32), 32, 4), 'all': None}
TABLE = {'B': ('data',), 'N': ('tensor',)}


@pytest.fixture(scope='module')
def mesh():
  chips = compiler.devices(parse_topology('v5e:2x2'))
  return Mesh(np.array(chips).reshape(2, 2), ('data', 'tensor'))


def compiled(mesh, mask, head_size, n_keys=4096, rate=0.0, dtype=jnp.bfloat16):
  """The gradient of attention at BAIR's length, for 2x2 chips, as text of its program."""
  sharding = NamedSharding(mesh, PartitionSpec('data', None, 'tensor'))

  def argument(length):
    return jax.ShapeDtypeStruct((2, length, 4, head_size), dtype, sharding=sharding)

  def loss(q, k, v):
    with placement.placed(mesh, TABLE):
      drop = make_dropout(rate, jax.random.key(0), 2, 4)
      return attention(q, k, v, mask, dropout=drop).astype(jnp.float32).sum()

  arguments = argument(4096), argument(n_keys), argument(n_keys)
  return jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments).compile()


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
@pytest.mark.parametrize('head_size', [64, 128, 144])
@pytest.mark.parametrize('kind', MASKS)
def test_splash_compiles_for_every_mask_and_head_size(mesh, kind, head_size, dtype):
  program = compiled(mesh, MASKS[kind], head_size, 256 if kind == 'all' else 4096, 0.0, dtype)
  assert 'tpu_custom_call' in program.as_text()


def test_dropout_takes_the_kernel_that_has_it(mesh):
  program = compiled(mesh, CausalMask(), 128, rate=0.1)
  assert 'tpu_custom_call' not in program.as_text()
  scores = 4096 * 4096 * 2
  assert program.memory_analysis().temp_size_in_bytes < 2 * scores  # nor does it hold all scores
