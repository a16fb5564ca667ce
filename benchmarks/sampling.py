"""How fast codes are drawn, against eager PyTorch and the memory: `python -m benchmarks.sampling`.

The published BAIR prior (576 hidden, 4 heads, 8 layers, 4x32x32 codes), weights at random: float32
on a CPU, bfloat16 on a GPU (the baseline float32 on either). Ours draws whole clips. A step of the
baseline costs the same at every position, since it attends to its whole cache; some of its steps
are timed before our clip and as many after it, so that what else the machine does weighs on both.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from videogpt_jax import programs
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec, code_spec
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.sampling.strategies import strategy_for

Row = tuple[str, float, str]

VQVAE_CONFIG = VQVAEConfig(downsample=(4, 2, 2))
SPEC = code_spec(VQVAE_CONFIG, sequence_length=16, resolution=64)
CASES = {'cpu': ('float32', (1, 8)), 'gpu': ('bfloat16', (8, 64))}
"""Computing dtype and batch sizes, by platform."""

EAGER_STEPS = 96
"""Steps of the baseline, run before and after ours; the first few warm it up."""

STREAM_MB = 512
MB = 1e6


def rows() -> Iterator[Row]:
  """Yields (name, value, unit) of each measurement."""
  bandwidth = stream_bandwidth()
  yield 'memory, read by all cores', bandwidth / 1e9, 'GB/s'
  eager = eager_seconds(SPEC)
  dtype, batches = CASES['cpu' if _is_cpu() else 'gpu']
  prior = Prior(PriorConfig(dtype=dtype), SPEC, rngs=nnx.Rngs(0))
  L = math.prod(SPEC.latent_shape)
  for batch in batches:
    name = f'sampling, BAIR size, {dtype}, batch {batch}'
    compiled, arguments = compile_draw(prior, VQVAE_CONFIG, batch)
    before = eager(batch) if eager else None
    ours = _seconds(lambda: jax.block_until_ready(compiled(*arguments))) / L  # noqa: B023
    after = eager(batch) if eager else None
    yield name, 1e3 * ours, 'ms a step'
    weights, cache = weights_and_cache(prior, batch)
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
  vqvae = trained(nnx.eval_shape(lambda: VQVAE(VQVAE_CONFIG, rngs=nnx.Rngs(0))))
  codes = jax.ShapeDtypeStruct((batch, *SPEC.latent_shape), jnp.int32)
  return programs.decode.lower(vqvae, codes).compile().memory_analysis().temp_size_in_bytes


def weights_and_cache(prior: Prior, batch: int) -> tuple[int, int]:
  """Returns the bytes of a prior's weights and of the whole cache, as it computes with them.

  A code reads every weight once, and on average half of the cache.
  """
  config, L = prior.config, math.prod(prior.codes.latent_shape)
  width = jnp.dtype(config.dtype).itemsize
  cache = 2 * config.n_layers * batch * L * config.hidden_dim * width
  return _bytes(nnx.state(prior)) * width // 4, cache


def compile_draw(
  prior: Prior,
  vqvae_config: VQVAEConfig,
  batch: int,
  settings: SamplingSettings = SamplingSettings(),  # noqa: B008, frozen
) -> tuple[jax.stages.Compiled, tuple]:
  """Returns the program that draws a batch of clips with these settings, and arguments for it."""
  vqvae = trained(VQVAE(vqvae_config, rngs=nnx.Rngs(0)))
  keys = jax.random.key_data(jax.random.split(jax.random.key(1), batch))
  arguments = trained(prior), vqvae, keys, settings.controls, {}
  return programs.draw.lower(
    *arguments, strategy=strategy_for(settings.strategy, prior.config)
  ).compile(), arguments


def eager_seconds(spec: CodeSpec, **sizes: int) -> Callable[[int], float] | None:
  """Returns a function batch -> seconds a step of the baseline, or None without PyTorch.

  Args:
    spec: of the codes.
    sizes: of the prior, where they are not the published ones.
  """
  try:
    from benchmarks.eager_torch import EagerPrior, Sizes
  except ImportError:
    return None
  device = 'cpu' if _is_cpu() else 'cuda'
  sizes = Sizes(spec.latent_shape, spec.n_codes, spec.embedding_dim, **sizes)
  model = EagerPrior(sizes).to(device)
  n_steps = min(EAGER_STEPS, math.prod(spec.latent_shape))

  def seconds(batch: int) -> float:
    model.sample(batch, 8)
    return _seconds(lambda: model.sample(batch, n_steps).cpu()) / n_steps

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
