"""How fast the prior trains and what memory that takes: `python -m benchmarks.attention`.

The prior's training step is the real one, optimiser included. Each runs in a process of its own, so
that its peak memory is known; the baseline is benchmarks/eager_torch.py, the published block in
eager PyTorch, with the same sizes, dropout and optimiser.
"""

import itertools
import json
import math
import resource
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

from videogpt_jax import cli
from videogpt_jax.models.placement import placed
from videogpt_jax.models.prior import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, AxialAttention, VQVAEConfig
from videogpt_jax.stages.train_prior import Tokenizer, prior_stage
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.step import init_state, make_train_step

_JOB = flags.DEFINE_string('job', '', 'Measure this alone, for the process that runs all.')

Row = tuple[str, float, str]

BAIR = CodeSpec((4, 32, 32), n_codes=2048, embedding_dim=256, sequence_length=16, resolution=64)

H100_FLOPS = 989e12
"""Of dense bfloat16 products a second, H100 and H200 SXM (NVIDIA's data sheets)."""

BILLION = PriorConfig(
  2048, n_heads=16, n_layers=20, attn_dropout=0.0, remat='dots', dtype='bfloat16'
)
"""The prior whose utilisation of a GPU is measured: 1.0 billion parameters in its blocks."""


def rows() -> Iterator[Row]:
  """(name, value, unit) of each measurement."""
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
  yield _utilisation()


def _job(which: str) -> dict:
  """Runs one of `_JOBS` in a process of its own: seconds a step and peak memory in MiB."""
  command = [sys.executable, '-m', 'benchmarks.attention', f'--job={which}']
  output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
  return json.loads(output.splitlines()[-1])


def _timed(step: Callable[[], object], n: int = 3) -> dict:
  """The fastest of n steps after the first, and the process's peak memory."""
  seconds = []
  for _ in range(n + 1):
    begun = time.perf_counter()
    step()
    seconds.append(time.perf_counter() - begun)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  return {'seconds': min(seconds[1:]), 'peak': peak}


def _ours(attn_type: str) -> dict:
  step = _train_step(PriorConfig(attn_type=attn_type, remat='dots'), BAIR, batch_size=1)
  return _timed(step)


def _train_step(config: PriorConfig, spec: CodeSpec, batch_size: int) -> Callable[[], None]:
  """Returns a function that does a training step of this prior on random codes."""
  vqvae = VQVAE(VQVAEConfig(spec.embedding_dim, spec.n_codes, n_hiddens=8), rngs=nnx.Rngs(0))
  graphdef, *states = nnx.split(vqvae, nnx.Param, ...)
  stage = prior_stage(config, spec, Tokenizer(graphdef, tuple(states)))
  optimizer, key = OptimizerConfig(), jax.random.key(0)
  state = jax.jit(lambda: init_state(stage, optimizer, 100, key))()
  codes = jax.random.randint(key, (batch_size, *spec.latent_shape), 0, spec.n_codes)
  update = jax.jit(make_train_step(stage, optimizer, 100), donate_argnums=0)

  def step():
    nonlocal state
    state, _ = update(state, stage.frozen, {'codes': codes}, key)
    jax.block_until_ready(state)

  return step


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
  """What XLA plans for a training step's arrays, from 1,024 to 65,536 codes."""
  for attn_type, t in [*itertools.product(['full'], (1, 4, 16, 64)), ('sparse', 1), ('sparse', 64)]:
    spec = BAIR._replace(latent_shape=(t, 32, 32), sequence_length=4 * t)
    needed = training_memory(PriorConfig(attn_type=attn_type, remat='dots'), spec)
    L = 1024 * t
    yield f'memory planned, {attn_type} attention, {L} codes', needed / 1024 / L, 'KiB a code'


def training_memory(config: PriorConfig, spec: CodeSpec) -> int:
  """Returns the bytes beside parameters that the gradient of one clip needs, as compiled."""
  return compiled_gradient(config, spec).memory_analysis().temp_size_in_bytes


def compiled_gradient(config: PriorConfig, spec: CodeSpec) -> jax.stages.Compiled:
  """Returns the gradient of a prior's loss of one clip."""
  stage = prior_stage(config, spec, Tokenizer(None, None))
  graphdef, params, _ = stage.abstract()

  def loss(params, embeddings, codes, key):
    prior = nnx.merge(graphdef, params)
    logits = prior(embeddings, prior.condition(), key)
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
  """The VQ-VAE's axial attention against the same with axes moved for each head."""
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
  """Returns axial attention of x and its gradients, to be compiled, and parameters to run it with.

  Args:
    form: a key of `AXIAL_FORMS`.
    x: [B t h w C]; also what the output's gradient is like.
    device: to compile for, by default JAX's.
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
  """As it is usually written: queries, keys and values each moved, then moved back."""

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
"""Attention along one axis, as the VQ-VAE has it and as it is usually written."""


def _utilisation() -> Row:
  """Of a GPU's peak, by the 1B prior's training step: the products that the model needs."""
  name = 'model FLOPs utilisation, 1B prior, bfloat16, full attention'
  if jax.default_backend() != 'gpu':
    return name, float('nan'), 'not measured: no GPU'
  batch_size = 4
  seconds = _timed(_train_step(BILLION, BAIR, batch_size), n=5)['seconds']
  return name, 100 * step_flops(BILLION, BAIR, batch_size) / seconds / H100_FLOPS, '% of an H100'


def step_flops(config: PriorConfig, spec: CodeSpec, batch_size: int) -> float:
  """Returns the products' operations of a training step, what is computed again not counted."""
  L, D = math.prod(spec.latent_shape), config.hidden_dim
  linear = config.n_layers * (4 * D * D + 2 * D * config.mlp_units)
  linear += D * (spec.embedding_dim + spec.n_codes)
  attended = config.n_layers * D * L  # scores and sums over values, of half of the pairs
  return 6.0 * batch_size * L * (linear + attended)


def main(argv):
  del argv
  if _JOB.value:
    print(json.dumps(_JOBS[_JOB.value]()))
    return
  for name, value, unit in rows():
    print(f'{name:60s} {value:10.2f}  {unit}', flush=True)


if __name__ == '__main__':
  cli.start(main)
