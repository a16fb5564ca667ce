"""Which batch fits a chip's memory, and what would make a program fit that does not."""

import math
from collections.abc import Callable

from videogpt_jax.config import Experiment
from videogpt_jax.planning.chips import Topology
from videogpt_jax.planning.compiler import DoesNotFitError
from videogpt_jax.planning.estimate import Estimate, estimate
from videogpt_jax.planning.programs import Step

Tried = Estimate | DoesNotFitError
"""What comes of compiling a program."""

EXTRAPOLATED = 64
"""Batches beyond so many times the given one are neither compiled nor told as a number."""


def attempt(step: Step, topology: Topology) -> Tried:
  """Returns the estimate of a program, or why the chip's memory does not hold it."""
  try:
    return estimate(step, topology)
  except DoesNotFitError as error:
    return error


def largest_batch(make: Callable[[int], Step], first: Tried, step: Step, topology: Topology) -> int:
  """Returns about the largest batch whose program fits, or 0.

  All else being equal a program's memory is nearly a line in the batch; this draws it through the
  given program and one other, which it compiles, and again where that line has led.

  Args:
    make: the program of a batch size.
    first: what came of `step`.
    step: the program of the wanted batch size.
    topology: what it is for.
  """
  shares = step.shares
  other = shares if step.batch_size > shares else 2 * shares
  needed = {step.batch_size: _needed(first), other: _needed(attempt(make(other), topology))}
  largest = _where_the_line_ends(needed, topology.chip.usable, shares)
  if largest not in needed and 0 < largest <= EXTRAPOLATED * step.batch_size:
    needed[largest] = _needed(attempt(make(largest), topology))
    largest = _where_the_line_ends(needed, topology.chip.usable, shares)
  return largest


def _where_the_line_ends(needed: dict[int, float], usable: float, shares: int) -> int:
  """The batch at which a line through the two nearest to the chip's memory reaches it."""
  nearest = sorted(needed.items(), key=lambda found: abs(found[1] - usable))[:2]
  (small, least), (large, most) = sorted(nearest)
  a_clip = max((most - least) / (large - small), 1.0)
  return max(math.floor((small + (usable - least) / a_clip) / shares) * shares, 0)


def remedies(
  step: Step, experiment: Experiment, error: DoesNotFitError, topology: Topology, largest: int
) -> list[str]:
  """What would make a program fit, the cheapest first.

  Args:
    step: the program.
    experiment: whose it is.
    error: by how much it does not fit.
    topology: where.
    largest: the largest batch that fits, 0 if none does.
  """
  axes, ways = step.mesh.shape, []
  if step.name != 'sample' and step.batch_size % (2 * step.shares) == 0:
    steps = step.shares // (axes['data'] * axes['fsdp'])
    ways.append(f'--config.{step.name}_training.grad_accum_steps={2 * steps} or more')
  if largest:
    key = 'sample.num' if step.name == 'sample' else f'{step.name}_training.batch_size'
    ways.append(f'--config.{key}={largest}')
  if step.name == 'prior':
    if experiment.prior.remat != 'full':
      ways.append('--config.prior.remat=full')
    if experiment.prior.dtype != 'bfloat16':
      ways.append('--config.prior.dtype=bfloat16')
  elif step.name == 'vqvae' and experiment.vqvae.dtype != 'bfloat16':
    ways.append('--config.vqvae.dtype=bfloat16')
  state = sum(size for name, size in step.part_bytes().items() if name != 'batch')
  if axes['data'] > 1 and state > topology.chip.usable / 4:
    ways.append(f'--config.mesh.fsdp={axes["fsdp"] * axes["data"]} (parameters shared by more)')
  chips = topology.n_chips * error.needed / topology.chip.usable
  bigger = [s for s in topology.chip.slices if math.prod(map(int, s.split('x'))) >= chips]
  if bigger:
    ways.append(f'--topology={topology.chip.name}:{bigger[0]} {_batch_on(bigger[0], step)}')
  return ways


def _batch_on(shape: str, step: Step) -> str:
  """Says which batch a larger slice can share out."""
  n_chips = math.prod(map(int, shape.split('x')))
  if step.batch_size % n_chips == 0 or step.name == 'sample':
    return 'at the same batch, shared out evenly'
  batch_size = -(-step.batch_size // n_chips) * n_chips
  return f'with --config.{step.name}_training.batch_size={batch_size} --config.mesh.fsdp={n_chips}'


def _needed(tried: Tried) -> float:
  return tried.peak if isinstance(tried, Estimate) else tried.needed
