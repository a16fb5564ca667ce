"""The TPU compiler without a TPU: libtpu describes a slice's devices and compiles for them.

It partitions a program, optimises and schedules it, and assigns its arrays to memory: seconds. Then
it writes machine code, of which planning needs nothing: minutes. So programs are compiled in
another process, which is stopped in between; XLA's dump of its work (`xla_dump_to`) remains.
"""

import dataclasses
import importlib.util
import multiprocessing
import os
import re
import tempfile
import time
from pathlib import Path

import jax

from videogpt_jax.config import Experiment
from videogpt_jax.planning.chips import GIB, Topology, parse_topology
from videogpt_jax.planning.environment import describe_missing_tpu
from videogpt_jax.planning.programs import Step, make_step
from videogpt_jax.training.sharding import MeshConfig, make_mesh

OUT_OF_MEMORY = (
  r'Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm',
  r'required for HLO temporaries \(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)',
)
"""The two ways in which the compiler says what a program needs and what there is."""

TEXT = 'after_optimizations.txt'
ALLOCATIONS = 'after_optimizations-buffer-assignment.txt'
LAST = 'after_optimizations_after_buffer_assignment.txt'
"""How names of XLA's dumps end; the last is written when the others are complete."""

FAILURE = 'failure'
"""The file in which the other process writes why it could not compile."""

MISSING = (
  'planning needs libtpu, the TPU compiler (Linux, x86-64; no TPU is needed): '
  "pip install 'jax[tpu]', which takes the version that this jax was made with"
)


class DoesNotFitError(ValueError):
  """The compiler found no way to hold a program in the chip's memory.

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
  """Returns the devices of a slice to compile for, one a chip.

  Raises:
    ValueError: libtpu is not installed.
  """
  from jax.experimental import topologies

  if missing():
    raise ValueError(MISSING)
  describe_missing_tpu()
  # libtpu guards a TPU with a lock file of the whole machine; nobody drives one here.
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  # A v4 chip's two cores are one device to a program, as they are on a TPU VM.
  options = {'chip_config_name': 'megacore'} if topology.chip.name == 'v4' else {}
  if topology.n_chips == 1:  # a host of it has one chip, not four
    options['chips_per_host_bounds'] = (1, 1, 1)
  return list(
    topologies.get_topology_desc(platform='tpu', topology_name=topology.name, **options).devices
  )


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A program as the compiler has optimised it, without its machine code.

  Attributes:
    text: in HLO, partitioned and scheduled: what one chip runs.
    arguments: bytes a chip of what it is given and does not ignore.
    temporaries: bytes of everything else but results that are not written over arguments.
    peak: bytes of all together, as they are laid out in HBM: what the compiler refuses programs by.
      JAX's `memory_analysis()` says more: 19.1 GiB of a program that was let into 15.75 GiB.
  """

  text: str
  arguments: int
  temporaries: int
  peak: int


def compile_step(step: Step, topology: Topology) -> Compiled:
  """Compiles for the devices of the step's mesh, up to the machine code.

  Raises:
    DoesNotFitError: it needs more memory than a chip has.
  """
  with tempfile.TemporaryDirectory() as folder:
    sizes = MeshConfig(**step.mesh.shape)
    process = multiprocessing.get_context('spawn').Process(
      target=_compile,
      args=(step.name, step.experiment, step.batch_size, sizes, topology.name, folder),
      daemon=True,
    )
    process.start()
    try:
      while process.is_alive() and not list(Path(folder).glob(f'*.{LAST}')):
        time.sleep(0.1)
    finally:
      process.kill()
      process.join()
    compiled = read(Path(folder))
  if compiled.peak > topology.chip.usable:
    raise DoesNotFitError(compiled.peak, topology.chip.usable)
  return compiled


def read(folder: Path) -> Compiled:
  """Reads what the compiler has dumped of one program.

  Raises:
    DoesNotFitError: the compiler said so.
    RuntimeError: it failed.
    ValueError: it did not come to its end.
  """
  failed = folder / FAILURE
  if failed.exists():
    error = failed.read_text()
    sizes = [re.search(pattern, error) for pattern in OUT_OF_MEMORY]
    if not any(sizes):
      raise RuntimeError(error)
    needed, unit, available, of_unit = next(s for s in sizes if s).groups()
    raise DoesNotFitError(_bytes(needed, unit), _bytes(available, of_unit))
  texts = list(folder.glob(f'*.{TEXT}'))
  if len(texts) != 1:
    raise ValueError('the compiler was killed; has this machine enough memory (8 GB) for it?')
  sizes = {'arguments': 0, 'results': 0, 'temporaries': 0}
  for kind, size in allocations(next(folder.glob(f'*.{ALLOCATIONS}')).read_text()):
    sizes[kind] += size
  return Compiled(
    texts[0].read_text(), sizes['arguments'], sizes['temporaries'], sum(sizes.values())
  )


def allocations(text: str) -> list[tuple[str, int]]:
  """What of HBM a program is assigned, as XLA writes it: ('arguments', bytes), ...

  A color is another memory, on the chip.
  """
  found = []
  for line in re.findall(r'^allocation \d+: (.*)$', text, re.M):
    if 'color ' not in line:
      kind = 'temporaries'
      if 'parameter ' in line:
        kind = 'arguments'
      elif 'live-out' in line:
        kind = 'results'
      found.append((kind, int(re.search(r'size (\d+)', line).group(1))))
  return found


def _compile(
  name: str, experiment: Experiment, batch_size: int, sizes: MeshConfig, slice_: str, folder: str
):
  """The other process: traces a program again, and gives it to the compiler."""
  # What libtpu writes to the terminal, from C++, stays here; an error is written down anyhow.
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
  jax.config.update('jax_platforms', 'cpu')
  try:
    mesh = make_mesh(sizes, devices(parse_topology(slice_)))
    lowered = make_step(name, experiment, mesh, batch_size).lower()
    lowered.compile(compiler_options={'xla_dump_to': folder})
  except Exception as error:
    (Path(folder) / FAILURE).write_text(f'{type(error).__name__}: {error}')


def _bytes(number: str, unit: str) -> float:
  return float(number) * 1024 ** ('KMGT'.index(unit) + 1)
