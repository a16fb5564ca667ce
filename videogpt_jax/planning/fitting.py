"""The largest batch that fits a chip's memory, and remedies for a program that does not fit."""

import math
from collections.abc import Callable

from videogpt_jax.planning.chips import Topology
from videogpt_jax.planning.compiler import DoesNotFitError
from videogpt_jax.planning.estimate import Estimate, attempt
from videogpt_jax.planning.programs import Step

EXTRAPOLATED = 64
"""Batches of more than so many times the given one are neither compiled nor printed."""

CLOSE = 0.05
"""Share of a batch that a line may be off."""

ROUNDS = 4
"""Lines that are drawn, at most; each but the last may need another compilation."""


def largest_batch(
  make: Callable[[int], Step], first: Estimate | DoesNotFitError, step: Step, topology: Topology
) -> int:
  """Returns about the largest batch whose program fits, or 0.

  A program's memory is roughly a line in the batch. This draws it through the smallest program and
  `step`, and then through the smallest and the program at the end of the line before, until the end
  moves by less than `CLOSE`.

  Args:
    make: returns the program of a batch size.
    first: estimate of `step`.
    step: the program of the configured batch size.
    topology: the slice.
  """
  shares, usable = step.shares, topology.chip.usable
  other = shares if step.batch_size > shares else 2 * shares
  smallest, needed = sorted(
    [(step.batch_size, _needed(first)), (other, _needed(attempt(make(other), topology)))]
  )
  batch, memory = needed
  for left in reversed(range(ROUNDS)):
    per_clip = max((memory - smallest[1]) / (batch - smallest[0]), 1.0)
    largest = max(math.floor((batch + (usable - memory) / per_clip) / shares) * shares, 0)
    near = abs(largest - batch) <= CLOSE * batch
    if near or not left or not smallest[0] < largest <= EXTRAPOLATED * step.batch_size:
      return largest
    batch, memory = largest, _needed(attempt(make(largest), topology))


def _needed(tried: Estimate | DoesNotFitError) -> float:
  return tried.peak if isinstance(tried, Estimate) else tried.needed


def remedies(step: Step, error: DoesNotFitError, topology: Topology, largest: int) -> list[str]:
  """Returns flags that may make a program fit, the cheapest first.

  Args:
    step: the program.
    error: by how much it does not fit.
    topology: the slice.
    largest: the largest batch that fits, 0 if none does.
  """
  axes, n, ways = step.mesh.shape, step.batch_size, []
  key = 'sample.num' if step.name == 'sample' else f'{step.name}_training.batch_size'
  if step.name != 'sample' and n % (2 * step.shares) == 0:
    steps = step.shares // (axes['data'] * axes['fsdp'])
    ways.append(f'--config.{step.name}_training.grad_accum_steps={2 * steps} or more')
  if largest:
    ways.append(f'--config.{key}={largest}')
  if step.name == 'prior' and step.experiment.prior.remat != 'full':
    ways.append('--config.prior.remat=full')
  if step.name != 'sample' and getattr(step.experiment, step.name).dtype != 'bfloat16':
    ways.append(f'--config.{step.name}.dtype=bfloat16')
  state = sum(size for name, size in step.part_bytes().items() if name != 'batch')
  if axes['data'] > 1 and state > topology.chip.usable / 4:
    ways.append(f'--config.mesh.fsdp={axes["fsdp"] * axes["data"]} (more shards of parameters)')
  least = topology.n_chips * error.needed / topology.chip.usable
  sizes = {name: math.prod(map(int, name.split('x'))) for name in topology.chip.slices}
  bigger = next((name for name, size in sizes.items() if size >= least), None)
  if bigger:
    chips, batch = sizes[bigger], 'at the same batch, shared out evenly'
    if n % chips and step.name != 'sample':
      batch = f'with --config.{key}={-(-n // chips) * chips} --config.mesh.fsdp={chips}'
    ways.append(f'--topology={topology.chip.name}:{bigger} {batch}')
  return ways
