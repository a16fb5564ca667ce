"""Speed and memory of training the prior: `python -m benchmarks.attention`.

The full training step is measured, optimiser included. Each measurement runs in its own process,
which gives its peak memory. The baseline is benchmarks/eager_torch.py, the published block in eager
PyTorch with the same sizes, dropout and optimiser.
"""

import dataclasses
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from einops import rearrange
from flax import nnx
from jax.sharding import Mesh, SingleDeviceSharding

from benchmarks import peak_memory
from benchmarks.steps import BAIR, prior_step
from videogpt_jax import cli
from videogpt_jax.models.attention.axial import AxialAttention
from videogpt_jax.models.placement import placed
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig

_JOB = flags.DEFINE_string('job', '', 'Measure only this; used by the parent process.')

Row = tuple[str, float, str]


def rows() -> Iterator[Row]:
  """Yields (name, value, unit) of each measurement."""
  full, sparse = _job('full'), _job('sparse')
  name = 'prior step, BAIR size, batch 1, float32'
  yield f'{name}: full attention', full['seconds'], 's'
  yield f'{name}: sparse', sparse['seconds'], 's'
  yield 'sparse against full', full['seconds'] / sparse['seconds'], 'times as fast'
  eager = _job('eager')
  if 'missing' in eager:
    yield f'{name}: eager PyTorch', float('nan'), eager['missing']
  else:
    yield f'{name}: eager PyTorch', eager['seconds'], 's'
    yield (
      'full attention against eager PyTorch',
      eager['seconds'] / full['seconds'],
      'times as fast',
    )
    yield 'peak memory, eager PyTorch', eager['peak'], 'MiB'
    yield 'its share that full attention takes', 100 * full['peak'] / eager['peak'], '%'
  yield 'peak memory, full attention', full['peak'], 'MiB'
  yield 'peak memory, sparse', sparse['peak'], 'MiB'
  yield from _memory_by_length()
  yield from _axial()


def _job(which: str) -> dict:
  """Runs one of `_JOBS` in its own process; returns seconds per step and peak memory in MiB."""
  command = [sys.executable, '-m', 'benchmarks.attention', f'--job={which}']
  output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
  return json.loads(output.splitlines()[-1])


def _timed(step: Callable[[], object], n: int = 3) -> dict:
  """Returns the time of the fastest of n steps after the first, and the peak memory."""
  seconds = []
  for _ in range(n + 1):
    begun = time.perf_counter()
    step()
    seconds.append(time.perf_counter() - begun)
  return {'seconds': min(seconds[1:]), 'peak': peak_memory.megabytes()}


def _ours(attn_type: str) -> dict:
  return _timed(prior_step(PriorConfig(attn_type=attn_type, remat='dots'), BAIR, batch_size=1))


def _eager() -> dict:
  try:
    import torch
  except ImportError:
    return {'missing': 'not measured: pip install torch'}
  from benchmarks.eager_torch import EagerPrior, Sizes

  prior = EagerPrior(Sizes()).train()
  parameters = [p for p in prior.parameters() if p.requires_grad]
  optimizer = torch.optim.AdamW(parameters)
  codes = torch.randint(0, 2048, (1, 4096))

  def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(prior(codes).flatten(0, 1), codes.flatten()).backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()

  return _timed(step, n=2)


_JOBS = {'full': lambda: _ours('full'), 'sparse': lambda: _ours('sparse'), 'eager': _eager}


def _memory_by_length() -> Iterator[Row]:
  """Yields the compiled memory of the gradient for 1,024 to 65,536 codes."""
  for attn_type, t in [*itertools.product(['full'], (1, 4, 16, 64)), ('sparse', 1), ('sparse', 64)]:
    spec = dataclasses.replace(BAIR, latent_shape=(t, 32, 32), sequence_length=4 * t)
    needed = training_memory(PriorConfig(attn_type=attn_type, remat='dots'), spec)
    L = 1024 * t
    yield f'memory planned, {attn_type} attention, {L} codes', needed / 1024 / L, 'KiB a code'


def training_memory(config: PriorConfig, spec: CodeSpec) -> int:
  """Returns the compiled size in bytes of the gradient's temporary arrays for one clip."""
  return compiled_gradient(config, spec).memory_analysis().temp_size_in_bytes


def compiled_gradient(config: PriorConfig, spec: CodeSpec) -> jax.stages.Compiled:
  """Compiles the gradient of a prior's loss for one clip."""
  prior = nnx.eval_shape(lambda: Prior(config, spec, rngs=nnx.Rngs(0)))
  graphdef, params = nnx.split(prior)

  def loss(params, embeddings, codes, key):
    prior = nnx.merge(graphdef, params)
    logits = prior(embeddings, prior.condition({}), key)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], axis=-1)
    return -log_p.mean()

  shape = (1, *spec.latent_shape)
  arguments = (
    params,
    jax.ShapeDtypeStruct((*shape, spec.embedding_dim), jnp.float32),
    jax.ShapeDtypeStruct(shape, jnp.int32),
    jax.eval_shape(lambda: jax.random.key(0)),
  )
  return jax.jit(jax.grad(loss)).lower(*arguments).compile()


def _axial() -> Iterator[Row]:
  """Compares the VQ-VAE's axial attention with one that moves axes for each head."""
  x = jax.random.normal(jax.random.key(0), (1, *BAIR.latent_shape, 240))
  seconds, transposes = {}, {}
  for form in AXIAL_FORMS:
    lowered, params = axial_gradient(form, x)
    compiled = lowered.compile()
    transposes[form] = compiled.as_text().count(' transpose(')
    step = lambda compiled=compiled, params=params: jax.block_until_ready(compiled(params, x, x))
    seconds[form] = _timed(step, n=5)['seconds']
  yield 'axial attention, forward and gradient, 4x32x32', 1000 * seconds['ours'], 'ms'
  yield (
    '... against moving axes for each head',
    seconds['moved'] / seconds['ours'],
    'times as fast',
  )
  yield '... transposes that the compiler leaves', transposes['ours'], f'of {transposes["moved"]}'


def axial_gradient(
  form: str, x: jax.Array | jax.ShapeDtypeStruct, device: jax.Device | None = None
) -> tuple[jax.stages.Lowered, Any]:
  """Lowers axial attention of x with its gradients; also returns parameters to run it with.

  Args:
    form: a key of `AXIAL_FORMS`.
    x: [B t h w C]; the output's gradient has the same shape.
    device: to compile for; by default JAX's.
  """
  mesh = device and Mesh([device], ('data',))
  sharding = device and SingleDeviceSharding(device)
  module = AxialAttention(x.shape[-1], 2, rngs=nnx.Rngs(0))
  graphdef, params = nnx.split(module)

  def run(params, x, d_out):
    def attend(params, x):
      module = nnx.merge(graphdef, params)
      parts = (module.attn_w, module.attn_h, module.attn_t)
      return sum(AXIAL_FORMS[form](part, x) for part in parts)

    with placed(mesh, {}):
      out, pull = jax.vjp(attend, params, x)
      return out, pull(d_out)

  like = lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)
  return jax.jit(run).lower(jax.tree.map(like, params), like(x), like(x)), params


def _moved_axis(part: nnx.Module, x: jax.Array) -> jax.Array:
  """The usual form: queries, keys and values are moved separately, and the result moved back."""

  def project(x, linear):
    return x @ linear.kernel[...].astype(x.dtype)

  q, k, v = (
    jnp.moveaxis(rearrange(project(x, f), '... (N d) -> ... N d', N=part.n_heads), part.axis, -3)
    for f in (part.query, part.key, part.value)
  )
  scores = jnp.einsum('...LNd,...SNd->...NLS', q, k, preferred_element_type=jnp.float32)
  weights = jax.nn.softmax(scores * q.shape[-1] ** -0.5, axis=-1).astype(x.dtype)
  y = jnp.moveaxis(jnp.einsum('...NLS,...SNd->...LNd', weights, v), -3, part.axis)
  y = project(rearrange(y, '... N d -> ... (N d)'), part.out)
  return y + part.out.bias[...].astype(x.dtype)


AXIAL_FORMS = {'ours': lambda part, x: part(x), 'moved': _moved_axis}
"""Attention along one axis: the VQ-VAE's form and the usual form."""


def main(argv):
  del argv
  if _JOB.value:
    print(json.dumps(_JOBS[_JOB.value]()))
    return
  for name, value, unit in rows():
    print(f'{name:60s} {value:10.2f}  {unit}', flush=True)


if __name__ == '__main__':
  cli.start(main)
