"""The TPU compiler without a TPU: libtpu describes a slice's devices and compiles for them."""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator

import jax

from videogpt_jax.planning.chips import GIB, Topology
from videogpt_jax.planning.environment import describe_missing_tpu

OUT_OF_MEMORY = (
  r'Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm',
  r'required for HLO temporaries \(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)',
)
"""The two ways in which the compiler says what a program needs and what there is."""

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
  chip_config = {'chip_config_name': 'megacore'} if topology.chip.name == 'v4' else {}
  return list(
    topologies.get_topology_desc(platform='tpu', topology_name=topology.name, **chip_config).devices
  )


def compile_step(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
  """Compiles for the devices that the arguments are placed on.

  Raises:
    DoesNotFitError: it needs more memory than a chip has.
  """
  try:
    with _quiet():
      return lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    sizes = [re.search(pattern, str(error)) for pattern in OUT_OF_MEMORY]
    if not any(sizes):
      raise
    needed, unit, available, of_unit = next(s for s in sizes if s).groups()
    raise DoesNotFitError(_bytes(needed, unit), _bytes(available, of_unit)) from None


def _bytes(number: str, unit: str) -> float:
  return float(number) * 1024 ** ('KMGT'.index(unit) + 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps what libtpu writes to the terminal, from C++, to itself; an error is raised anyhow."""
  sys.stderr.flush()
  kept = os.dup(2)
  with tempfile.TemporaryFile() as sink:
    os.dup2(sink.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(kept, 2)
      os.close(kept)
