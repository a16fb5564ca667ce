"""Profiles of training steps: a trace to look at, and the kernels that take longest."""

import collections
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from benchmarks.gpu import prior, vqvae
from benchmarks.gpu.case import Case, Figures
from benchmarks.steps import TrainStep, prior_step

STEPS = 3
LONGEST = 12

ABOUT = f"""Training steps of the prior and of the VQ-VAE under JAX's profiler, {STEPS} each: the
{LONGEST} kernels that take longest, and their shares of the time of all kernels. The whole traces
are the files `.xplane.pb` beside this one, for TensorBoard's profile plugin (XProf)."""

PRIORS = {'full': ('100M', 'cudnn', 'dots', 16), 'tiny': ('tiny', 'blockwise', 'none', 2)}
"""The prior that is profiled; see `prior.ROWS`."""


def cases(size: str, out: str) -> Iterator[Case]:
  """Yields a case for each step, then one for each of its longest kernels."""
  for name, make in {'prior': _prior, 'vqvae': _vqvae}.items():
    trace, found = Path(out, f'{name}.xplane.pb'), []
    yield Case(f'{name} step', functools.partial(_profile, make, size, trace, found))
    for kernel, figures in found:
      yield Case(f'{name}: {kernel}', lambda figures=figures: figures)


def _prior(size: str) -> TrainStep:
  name, kernel, remat, batch = PRIORS[size]
  config = dataclasses.replace(prior.PRIORS[name], attn_backend=kernel, remat=remat)
  return prior_step(config, prior.SPECS[name], batch)


def _vqvae(size: str) -> TrainStep:
  return vqvae.our_step(vqvae.SIZES[size], 'bfloat16')


def _profile(
  make: Callable[[str], TrainStep], size: str, trace: Path, found: list[tuple[str, Figures]]
) -> Figures:
  """Writes a trace, and adds its longest kernels to `found`."""
  step = make(size)
  step(1)
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0  # whose events would be most of the file
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder, profiler_options=options):
      step(STEPS)
    (written,) = Path(folder).rglob('*.xplane.pb')
    shutil.copyfile(written, trace)
  kernels = kernel_seconds(trace)
  if not kernels:
    return {'trace': trace.name, 'fault': 'the trace has no kernels'}
  total = sum(kernels.values())
  for name, seconds in kernels.most_common(LONGEST):
    figures = {'ms a step': 1e3 * seconds / STEPS, '% of kernels': 100 * seconds / total}
    found.append((name, figures))
  return {'ms a step': 1e3 * total / STEPS, 'kernels': len(kernels), 'trace': trace.name}


def kernel_seconds(trace: Path) -> collections.Counter[str]:
  """Returns the time of each kernel of a trace by name, of XLA's operations on a CPU."""
  planes = list(jax.profiler.ProfileData.from_file(str(trace)).planes)
  on_gpu = [plane for plane in planes if plane.name.startswith('/device:GPU')]
  seconds = collections.Counter()
  for plane in on_gpu or planes:
    for line in plane.lines:
      if on_gpu and not line.name.startswith('Stream'):
        continue  # the same kernels again, by module and by operation
      for event in line.events:
        if on_gpu or 'hlo_op' in dict(event.stats):
          seconds[event.name[:60]] += event.duration_ns / 1e9
  return seconds
