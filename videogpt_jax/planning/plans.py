"""What `python -m videogpt_jax.plan` prints: one slice in full, several as a table, or a search."""

import dataclasses
import functools
from collections.abc import Iterator

from videogpt_jax.config import Experiment
from videogpt_jax.planning import candidates, compiler, report
from videogpt_jax.planning.chips import GIB, Topology, parse_topology
from videogpt_jax.planning.estimate import Estimate
from videogpt_jax.planning.fitting import attempt, largest_batch, remedies
from videogpt_jax.planning.programs import STAGES, Step, make_step
from videogpt_jax.training.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Request:
  """What to plan.

  Attributes:
    experiment: the configuration.
    topologies: names of slices.
    stages: some of `programs.STAGES`.
    batch_per_chip: clips a chip, instead of the configuration's batch size.
    batch_sizes: that a search tries; none means the configuration's and twice it.
    n_compile: how many candidates a search compiles.
    with_largest_batch: whether to look for the largest batch that fits.
  """

  experiment: Experiment
  topologies: tuple[str, ...]
  stages: tuple[str, ...] = STAGES
  batch_per_chip: float | None = None
  batch_sizes: tuple[int, ...] = ()
  n_compile: int = 6
  with_largest_batch: bool = True

  def __post_init__(self):
    for stage in self.stages or ['']:
      if stage not in STAGES:
        raise ValueError(f'unknown stage {stage!r}; stages are {", ".join(STAGES)}')
    for name in self.topologies:
      parse_topology(name)


def plan(request: Request) -> Iterator[str]:
  """Plans each program, on one slice in full, on several as a table.

  Yields:
    text, as soon as it is known.
  Raises:
    ValueError: libtpu is missing, the mesh is impossible, or, after all else has been said, a
      program does not fit; then it says by how much and what would make it fit.
  """
  slices = [parse_topology(name) for name in request.topologies]
  misfits = []
  if len(slices) > 1:
    yield report.HEADER
  for topology in slices:
    mesh = make_mesh(request.experiment.mesh, compiler.devices(topology))
    for name in request.stages:
      make = functools.partial(make_step, name, request.experiment, mesh)
      step = make(_batch_size(request, topology))
      tried = attempt(step, topology)
      largest = None
      if request.with_largest_batch and len(slices) == 1:
        largest = largest_batch(make, tried, step, topology)
      if isinstance(tried, Estimate):
        yield report.row(tried) if len(slices) > 1 else report.describe(tried, largest)
      else:
        ways = remedies(step, request.experiment, tried, topology, largest or 0)
        misfits.append(_misfit(step, topology, tried, ways))
  yield report.SCOPE
  if misfits:
    raise ValueError('; '.join(misfits))


def search(request: Request) -> Iterator[str]:
  """Ranks the meshes and batch sizes of the train steps that fit.

  Yields:
    a table for each slice and stage.
  Raises:
    ValueError: libtpu is missing, or nothing fits.
  """
  for name in request.topologies:
    topology = parse_topology(name)
    devices = compiler.devices(topology)
    for stage in request.stages:
      if stage != 'sample':
        yield _ranking(request, stage, topology, devices)
  yield report.SCOPE


def _ranking(request: Request, stage: str, topology: Topology, devices: list) -> str:
  training = getattr(request.experiment, f'{stage}_training')
  sizes = request.batch_sizes or (training.batch_size, 2 * training.batch_size)
  tried = candidates.search(stage, request.experiment, topology, devices, sizes, request.n_compile)
  if not tried.found:
    raise ValueError(
      f'no mesh of {topology.name} that was tried holds a {stage} step of {sizes} clips '
      f'({tried.n_candidates} meshes and batch sizes, of which the smallest needs at least '
      f'{tried.least_memory / GIB:.1f} of {topology.chip.usable / GIB:.1f} GiB a chip for '
      "parameters, optimiser state, gradients and the blocks' inputs; "
      f'{tried.n_compiled} compiled); try fewer clips with --batch_sizes, or a larger slice'
      + (', or more candidates with --compile' if tried.n_hopeful > tried.n_compiled else '')
    )
  title = (
    f'{stage}: {tried.n_candidates} meshes and batch sizes, {tried.n_hopeful} of them possible, '
    f'{tried.n_compiled} compiled, {len(tried.found)} fit'
  )
  return f'{title}\n{report.ranking(tried.found)}'


def _batch_size(request: Request, topology: Topology) -> int | None:
  if request.batch_per_chip is None:
    return None
  return max(round(request.batch_per_chip * topology.n_chips), 1)


def _misfit(
  step: Step, topology: Topology, error: compiler.DoesNotFitError, ways: list[str]
) -> str:
  return (
    f'the {report.WHAT[step.name]} of {step.batch_size} clips does not fit {topology.name} '
    f'({report.axes_text(step.mesh.shape)}): {error}; any of these may make it fit: '
    f'{", ".join(ways) or "a smaller model"}'
  )
