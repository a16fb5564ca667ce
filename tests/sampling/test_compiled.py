"""What is compiled: no copy of a cache in the loop, on CPU and on a TPU; sparse reads are few."""

import math
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from videogpt_jax.models.attention import strided_mask
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import cache, sequential
from videogpt_jax.sampling.logits import Controls

SPEC = CodeSpec((4, 8, 8), n_codes=32, embedding_dim=8, sequence_length=4, resolution=32)

MOVES = 'copy|transpose|fusion|copy-start|pad|concatenate|gather|reduce|broadcast|select'


def arguments(batch=3, **kind):
  """The loop as a function, and abstract arguments for it."""
  config = PriorConfig(hidden_dim=40, n_heads=2, n_layers=2, **kind)
  prior = nnx.eval_shape(lambda: Prior(config, SPEC, rngs=nnx.Rngs(0)))
  graphdef, state = nnx.split(prior)

  def draw(state, codebook, keys):
    prior, lookup = nnx.merge(graphdef, state), lambda codes, group: codebook[group, codes]
    return sequential.decode(prior, lookup, prior.condition({}), keys, Controls())

  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch))
  return draw, (state, jax.ShapeDtypeStruct((1, 32, 8), jnp.float32), keys)


def whole_caches_made(text: str, sizes: set[int]) -> tuple[int, list[str]]:
  """The number of loops, and the instructions in them that write as much as a long cache holds.

  A merge does not count: it writes into the cache where it stands, a fusion around
  dynamic-update-slice.
  """
  found, bodies = [], set(re.findall(r'body=%?([\w.\-]+)', text))
  for body in bodies:
    start = re.search(rf'^%?{re.escape(body)} [^\n]*{{$', text, re.M).end()
    for line in text[start : text.index('\n}', start)].splitlines():
      made = re.match(rf'\s*(?:ROOT )?%?(\S+) = \w+\[([\d,]+)\]\S* ({MOVES})\(', line)
      if made and math.prod(int(n) for n in made[2].split(',')) in sizes:
        found += [] if 'dynamic-update-slice' in made[1] else [line.strip()]
  return len(bodies), found


@pytest.mark.parametrize(('batch', 'attn_type'), [(1, 'full'), (3, 'full'), (3, 'sparse')])
def test_no_step_copies_a_cache(batch, attn_type, monkeypatch):
  monkeypatch.setattr(sequential, 'CHUNK', 16)
  monkeypatch.setattr(sequential, 'SEGMENTS', 2)
  draw, args = arguments(batch, attn_type=attn_type)
  text = jax.jit(draw).lower(*args).compile().as_text()
  n_loops, found = whole_caches_made(text, {batch * 2 * length * 20 for length in (128, 256)})
  assert n_loops >= 4  # two segments, in each a loop over chunks and one over codes
  assert not found


def test_the_check_finds_a_copy_where_there_is_one():
  flip = lambda cache, i: (cache[:, ::-1] + i, None)
  scan = jax.jit(lambda cache: jax.lax.scan(flip, cache, jnp.arange(8.0))[0])
  text = scan.lower(jax.ShapeDtypeStruct((2, 64, 20), jnp.float32)).compile().as_text()
  n_loops, found = whole_caches_made(text, {2 * 64 * 20})
  assert n_loops == 1 and len(found) >= 1


def test_a_sparse_prior_is_compiled_once_for_all_positions(monkeypatch):
  monkeypatch.setattr(sequential, 'CHUNK', 16)
  draw, args = arguments(attn_type='sparse', attn_block=16)
  scans = re.findall(r'\bscan\[', str(jax.make_jaxpr(draw)(*args)))
  assert len(scans) == 2  # over chunks, and over the codes of one


TPU = """
import jax, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tests.sampling import test_compiled as t
topology = topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2')
mesh = Mesh(np.array(topology.devices[:1]), 'x')
place = NamedSharding(mesh, PartitionSpec())
t.sequential.CHUNK, t.sequential.SEGMENTS = 16, 2
draw, args = t.arguments(2)
args = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), args)
text = jax.jit(draw).lower(*args).compile().as_text()
sizes = {2 * 2 * length * 20 for length in (128, 256)}
n_loops, found = t.whole_caches_made(text, sizes)
copies = [line for line in found if ' copy' in line]
assert n_loops >= 4 and not copies, copies
print('no copies in', n_loops, 'loops')
"""


def test_no_step_copies_a_cache_on_a_tpu():
  pytest.importorskip('libtpu', reason='libtpu is not installed: pip install libtpu')
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'TPU_SKIP_MDS_QUERY': '1',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
    'XLA_FLAGS': '',
  }
  done = subprocess.run(
    [sys.executable, '-c', TPU], capture_output=True, text=True, timeout=500, env=environment
  )
  assert done.returncode == 0, done.stderr[-2000:]
  assert 'no copies in' in done.stdout


def test_keys_of_the_conditioning_frames_are_computed_before_the_loops():
  config = PriorConfig(hidden_dim=40, n_heads=2, n_layers=2, n_cond_frames=1, resnet_dim=28)
  graphdef, state = nnx.split(nnx.eval_shape(lambda: Prior(config, SPEC, rngs=nnx.Rngs(0))))

  def draw(state, codebook, frames, keys):
    prior, lookup = nnx.merge(graphdef, state), lambda codes, group: codebook[group, codes]
    return sequential.decode(prior, lookup, prior.condition({'frames': frames}), keys, Controls())

  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 3))
  codebook, frames = (
    jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 32, 8), (3, 1, 32, 32, 3))
  )
  jaxpr = jax.make_jaxpr(draw)(state, codebook, frames, keys)
  products = list(products_made(jaxpr.jaxpr))
  # The frames leave 64 entries, which have keys of 40 numbers and values of 28 in each layer;
  # linear layers compute those of the 3 clips as rows of one matrix.
  keys_and_values = [(3 * 64, 40), (3 * 64, 28)]
  outside, inside = ([shape for loop, shape in products if loop is x] for x in (False, True))
  assert [outside.count(shape) for shape in keys_and_values] == 2 * [config.n_layers]
  assert inside and not [shape for shape in inside if shape in keys_and_values]


def products_made(jaxpr, in_loop=False):
  """Yields of each matrix product whether it is in a loop, and the shape of what it makes."""
  for equation in jaxpr.eqns:
    name = equation.primitive.name
    if name == 'dot_general':
      yield in_loop, equation.outvars[0].aval.shape
    for inner in jaxprs_in_params(equation.params):
      yield from products_made(inner, in_loop or name == 'scan')


def test_a_sparse_prior_reads_only_what_its_layout_admits():
  mask = strided_mask((4, 32, 32), 32, 4)
  config = PriorConfig(hidden_dim=4, n_heads=2, n_layers=1, attn_type='sparse')
  long = [tuple(jnp.arange(4096.0) * jnp.ones((1, 2, 2, 1)) for _ in 'kv')]
  assert cache.empty(config, 1, 4096)[0][0].shape == long[0][0].shape
  for start in (0, 2048, 4064):
    view = cache.view(long, mask, jnp.int32(start), chunk=32)
    keys = view.cache[0][0][0, 0, 0]
    before = np.asarray(view.positions < start)
    assert len(keys) <= 8 * 32
    np.testing.assert_array_equal(keys[before], view.positions[before])
    admitted = np.asarray(mask.rows(jnp.array([start]), jnp.arange(start)))[0]
    np.testing.assert_array_equal(np.sort(view.positions[before]), np.flatnonzero(admitted))
