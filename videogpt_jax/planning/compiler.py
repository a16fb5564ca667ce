"""The TPU compiler without a TPU: libtpu describes a slice's devices and compiles for them.

It partitions, optimises and schedules a program and assigns its arrays to memory in seconds, then
writes machine code for minutes (five for a single layer of BAIR's prior). Planning needs only the
former, so it compiles in another process, which it stops in between, and reads XLA's dump.
"""

import collections
import importlib.util
import multiprocessing
import os
import re
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax

from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.machine import silence_missing_tpu
from videogpt_jax.planning.chips import GIB, Topology, parse_topology
from videogpt_jax.planning.programs import Step, make_step
from videogpt_jax.training.sharding import MeshConfig, make_mesh

TEXT = '*.after_optimizations.txt'
ALLOCATIONS = '*.after_optimizations-buffer-assignment.txt'
LAST = '*.after_optimizations_after_buffer_assignment.txt'
"""XLA's dumps; the last is written when the others are complete, if the program fits."""

MISSING = (
  'planning needs libtpu, the TPU compiler (Linux, x86-64; no TPU is needed): '
  "pip install 'jax[tpu]', which takes the version that this jax was made with"
)


class DoesNotFitError(UserError):
  """A chip's memory does not hold a program.

  Attributes:
    needed, available: bytes a chip.
  """

  def __init__(self, needed: float, available: float):
    self.needed, self.available = needed, available
    super().__init__(
      f'the program needs {needed / GIB:.1f} GiB a chip, {(needed - available) / GIB:.1f} GiB more '
      f'than the {available / GIB:.1f} GiB that the compiler may use'
    )


def missing() -> str | None:
  """Returns why no program can be compiled for a TPU on this machine, or None."""
  return None if importlib.util.find_spec('libtpu') else MISSING


def devices(topology: Topology) -> list:
  """Returns the devices of a slice to compile for, one a chip (UserError without libtpu)."""
  from jax.experimental import topologies

  if missing():
    raise UserError(MISSING)
  silence_missing_tpu()
  # libtpu guards a TPU with a lock file of the whole machine; none is driven here.
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  # A v4 chip's two cores are one device to a program, as on a TPU VM.
  options = {'chip_config_name': 'megacore'} if topology.chip.name == 'v4' else {}
  if topology.n_chips == 1:  # its host has one chip, not four
    options['chips_per_host_bounds'] = (1, 1, 1)
  return list(topologies.get_topology_desc(topology.name, 'tpu', **options).devices)


class Compiled(NamedTuple):
  """A program as the compiler has optimised it, without machine code.

  Attributes:
    text: HLO, partitioned and scheduled: what one chip runs.
    arguments: bytes a chip of the arguments that it reads.
    temporaries: bytes of everything else but results that are not written over arguments.
    peak: bytes of all together as laid out in HBM, by which the compiler refuses programs. JAX's
      `memory_analysis()` says more: 19.1 GiB of a program that fits 15.75 GiB.
  """

  text: str
  arguments: int
  temporaries: int
  peak: int


def compile_step(step: Step, topology: Topology) -> Compiled:
  """Compiles a step for the devices of its mesh, up to the machine code.

  Raises:
    DoesNotFitError: it needs more memory than a chip has.
    RuntimeError: the compiler failed.
  """
  with tempfile.TemporaryDirectory() as name:
    folder, sizes = Path(name), MeshConfig(**step.mesh.shape)
    arguments = step.name, step.experiment, step.batch_size, sizes, topology.name, folder
    spawn = multiprocessing.get_context('spawn')
    process = spawn.Process(target=_compile, args=arguments, daemon=True)
    process.start()
    try:
      while process.is_alive() and not list(folder.glob(LAST)):
        time.sleep(0.1)
    finally:
      process.kill()
      process.join()
    if not (assigned := list(folder.glob(ALLOCATIONS))):
      killed = 'the compiler was killed; has this machine enough memory (8 GB) for it?'
      failures = [path.read_text() for path in folder.glob('failure')]
      raise RuntimeError(*failures or [killed])
    used = allocations(assigned[0].read_text())
    if used.total() > topology.chip.usable:
      raise DoesNotFitError(used.total(), topology.chip.usable)
    (text,) = folder.glob(TEXT)
    return Compiled(text.read_text(), used['arguments'], used['temporaries'], used.total())


def allocations(text: str) -> collections.Counter:
  """Returns the bytes of HBM of a program's arguments, results and temporaries.

  Args:
    text: XLA's dump of its buffer assignment. An allocation with a color is memory on the chip.
  """
  used = collections.Counter()
  for line in re.findall(r'^allocation \d+: (.*)$', text, re.M):
    if 'color ' not in line:
      result = 'results' if 'live-out' in line else 'temporaries'
      kind = 'arguments' if 'parameter ' in line else result
      used[kind] += int(re.search(r'size (\d+)', line)[1])
  return used


def _compile(
  name: str, experiment: Experiment, batch_size: int, sizes: MeshConfig, slice_: str, folder: Path
):
  """Runs in the other process: traces a program again, and compiles it."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtpu logs to it from C++
  jax.config.update('jax_platforms', 'cpu')
  try:
    mesh = make_mesh(sizes, devices(parse_topology(slice_)))
    lowered = make_step(name, experiment, mesh, batch_size).lower()
    lowered.compile(compiler_options={'xla_dump_to': str(folder)})
  except Exception as error:
    (folder / 'failure').write_text(f'{type(error).__name__}: {error}')
