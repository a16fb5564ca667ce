"""How fast codes are drawn, against eager PyTorch and the memory: `python -m benchmarks.sampling`.

The published BAIR prior (576 hidden, 4 heads, 8 layers, 4x32x32 codes), weights at random: float32
on a CPU, bfloat16 on a GPU (the baseline float32 on either). Ours draws whole clips. A step of the
baseline costs the same at every position, since it attends to its whole cache; some of its steps
are timed before our clip and as many after it, so that what else the machine does weighs on both.
"""

import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from videogpt_jax.models.prior import CodeSpec, Prior
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.sampling.controls import Controls
from videogpt_jax.sampling.loop import decode

Row = tuple[str, float, str]

SPEC = CodeSpec((4, 32, 32), n_codes=2048, embedding_dim=256, sequence_length=16, resolution=64)
CASES = {'cpu': ('float32', (1, 8)), 'gpu': ('bfloat16', (8, 64))}
"""The type that is computed in, and clips at a time."""

EAGER_STEPS = 96
"""Of the baseline, before and after ours; the first few warm it up."""

STREAM_MB = 512
MB = 1e6


def rows() -> Iterator[Row]:
  """Yields (name, value, unit) of each measurement."""
  bandwidth = stream_bandwidth()
  yield 'memory, read by all cores', bandwidth / 1e9, 'GB/s'
  eager = _eager()
  dtype, batches = CASES['cpu' if _is_cpu() else 'gpu']
  width = jnp.dtype(dtype).itemsize
  prior = Prior(PriorConfig(dtype=dtype), SPEC, rngs=nnx.Rngs(0))
  weights = _bytes(nnx.state(prior)) * width / 4
  L, config = math.prod(SPEC.latent_shape), prior.config
  for batch in batches:
    name = f'sampling, BAIR size, {dtype}, batch {batch}'
    compiled, arguments = _compile(prior, batch)
    before = eager(batch) if eager else None
    ours = _seconds(lambda: jax.block_until_ready(compiled(*arguments))) / L  # noqa: B023
    after = eager(batch) if eager else None
    yield name, 1e3 * ours, 'ms a step'
    cache = 2 * config.n_layers * batch * L * config.hidden_dim * width
    # A code reads every weight once, and on average half of the cache.
    floor = (weights + cache / 2) / bandwidth
    yield f'{name}, of the bandwidth floor', 100 * floor / ours, f'% ({1e3 * floor:.1f} ms)'
    if eager:
      theirs = (before + after) / 2
      yield f'eager PyTorch, batch {batch}', 1e3 * theirs, f'ms a step, {2 * EAGER_STEPS} steps'
      yield f'{name}, against eager PyTorch', theirs / ours, 'times as fast'
    memory = compiled.memory_analysis()
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    allowed = weights + cache + decoder_bytes(batch)
    yield f'{name}, peak memory', used / MB, f'MB, {used / allowed:.2f} of weights+caches+decoder'
  if not eager:
    yield 'eager PyTorch', math.nan, 'not measured: pip install torch (CPU) and run again'
  if _is_cpu():
    yield 'sampling on a GPU', math.nan, 'not measured: none at hand'


def stream_bandwidth() -> float:
  """Returns bytes a second at which the device reads a large array, the best of several.

  A CPU reads with all of its cores.
  """
  if not _is_cpu():
    x, largest = jnp.ones(STREAM_MB * 2**20 // 4), jax.jit(jnp.max)
    return x.nbytes / min(_seconds(lambda: largest(x).block_until_ready()) for _ in range(8))
  x = np.ones(STREAM_MB * 2**20 // 4, np.float32)
  n = len(os.sched_getaffinity(0))
  parts = np.array_split(x, n)
  with ThreadPoolExecutor(n) as pool:  # NumPy lets go of the interpreter meanwhile
    read = lambda: list(pool.map(np.max, parts))
    return x.nbytes / min(_seconds(read) for _ in range(8))


def decoder_bytes(batch: int) -> int:
  """Returns what the VQ-VAE's decoder needs for so many clips besides codes and video."""
  vqvae = VQVAE(VQVAEConfig(downsample=(4, 2, 2)), rngs=nnx.Rngs(0))
  graphdef, state = nnx.split(vqvae)
  codes = jax.ShapeDtypeStruct((batch, *SPEC.latent_shape), jnp.int32)
  compiled = jax.jit(lambda s, c: nnx.merge(graphdef, s).decode(c)).lower(state, codes).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def _compile(prior: Prior, batch: int):
  graphdef, state = nnx.split(prior)

  def draw(state, codebook, keys):
    prior = nnx.merge(graphdef, state)
    return decode(prior, codebook, prior.condition(), keys, Controls()).codes

  codebook = jax.random.normal(jax.random.key(0), (1, SPEC.n_codes, SPEC.embedding_dim))
  arguments = state, codebook, jax.random.split(jax.random.key(1), batch)
  return jax.jit(draw).lower(*arguments).compile(), arguments


def _eager():
  """Returns a function batch -> seconds a step of the baseline, or None without PyTorch."""
  try:
    from benchmarks.eager_torch import EagerPrior, Sizes
  except ImportError:
    return None
  device = 'cpu' if _is_cpu() else 'cuda'
  model = EagerPrior(Sizes(SPEC.latent_shape, SPEC.n_codes, SPEC.embedding_dim)).to(device)

  def seconds(batch: int) -> float:
    model.sample(batch, 8)
    return _seconds(lambda: model.sample(batch, EAGER_STEPS).cpu()) / EAGER_STEPS

  return seconds


def _seconds(f) -> float:
  begun = time.perf_counter()
  f()
  return time.perf_counter() - begun


def _bytes(tree) -> int:
  return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def _is_cpu() -> bool:
  return jax.default_backend() == 'cpu'


if __name__ == '__main__':
  from videogpt_jax import cli

  cli.start(lambda argv: [print(f'{n:<60} {v:10.2f} {u}', flush=True) for n, v, u in rows()])
