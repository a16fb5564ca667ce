"""What `python -m videogpt_jax.plan` prints: one slice in full, several as a table, or a search."""

import functools
from collections.abc import Iterator, Sequence

from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.planning import candidates, compiler, tables
from videogpt_jax.planning.chips import GIB, Topology, parse_topology
from videogpt_jax.planning.estimate import Estimate, attempt
from videogpt_jax.planning.fitting import largest_batch, remedies
from videogpt_jax.planning.programs import STAGES, make_step
from videogpt_jax.training.sharding import make_mesh


def plan(
  experiment: Experiment,
  topologies: Sequence[str],
  stages: Sequence[str] = STAGES,
  batch_per_chip: float | None = None,
  with_largest_batch: bool = True,
) -> Iterator[str]:
  """Plans each program, on one slice in full, on several as a table.

  The arguments are plan.py's flags. Yields each text as soon as it is known.

  Raises:
    UserError: libtpu is missing, the mesh is impossible, or, after everything else has been
      printed, a program does not fit: by how much, and remedies.
  """
  slices = [parse_topology(name) for name in topologies]
  misfits = []
  if len(slices) > 1:
    yield tables.HEADER
  for topology in slices:
    mesh = make_mesh(experiment.mesh, compiler.devices(topology))
    clips = batch_per_chip and max(round(batch_per_chip * topology.n_chips), 1)
    for name in stages:
      make = functools.partial(make_step, name, experiment, mesh)
      step = make(clips)
      tried, largest = attempt(step, topology), None
      if with_largest_batch and len(slices) == 1:
        largest = largest_batch(make, tried, step, topology)
      if isinstance(tried, Estimate):
        yield tables.row(tried) if len(slices) > 1 else tables.describe(tried, largest)
      else:
        ways = ', '.join(remedies(step, tried, topology, largest or 0)) or 'a smaller model'
        misfits.append(
          f'the {tables.WHAT[name]} of {step.batch_size} clips does not fit {topology.name} '
          f'({tables.axes_text(mesh.shape)}): {tried}; any of these may make it fit: {ways}'
        )
  yield tables.SCOPE
  if misfits:
    raise UserError('; '.join(misfits))


def search(
  experiment: Experiment,
  topologies: Sequence[str],
  stages: Sequence[str] = STAGES,
  batch_sizes: Sequence[int] = (),
  n_compile: int = 6,
) -> Iterator[str]:
  """Ranks the meshes and batch sizes of the training steps that fit.

  The arguments are plan.py's flags; the sampler is left out. Yields a table for each slice and
  stage. UserError: libtpu is missing, or nothing fits.
  """
  for topology in map(parse_topology, topologies):
    devices = compiler.devices(topology)
    for stage in stages:
      if stage != 'sample':
        size = getattr(experiment, f'{stage}_training').batch_size
        sizes = batch_sizes or (size, 2 * size)
        tried = candidates.search(stage, experiment, topology, devices, sizes, n_compile)
        yield _ranking(stage, sizes, tried, topology)
  yield tables.SCOPE


def _ranking(stage: str, sizes: Sequence[int], tried: candidates.Tried, topology: Topology) -> str:
  if not tried.found:
    more = ', or more candidates with --compile' if tried.n_hopeful > tried.n_compiled else ''
    raise UserError(
      f'no mesh of {topology.name} that was tried holds a {stage} step of {sizes} clips '
      f'({tried.n_candidates} meshes and batch sizes, of which the smallest needs at least '
      f'{tried.least_memory / GIB:.1f} of {topology.chip.usable / GIB:.1f} GiB a chip for '
      "parameters, optimiser state, gradients and the blocks' inputs; "
      f'{tried.n_compiled} compiled); try fewer clips with --batch_sizes, or a larger slice{more}'
    )
  title = (
    f'{stage}: {tried.n_candidates} meshes and batch sizes, {tried.n_hopeful} of them possible, '
    f'{tried.n_compiled} compiled, {len(tried.found)} fit'
  )
  return '\n'.join([title, tables.HEADER, *map(tables.row, tried.found)])
