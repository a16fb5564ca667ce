"""From a compiled program and a chip's published peaks: memory, work, time."""

import dataclasses

from videogpt_jax.planning import cost, hlo
from videogpt_jax.planning.chips import Topology
from videogpt_jax.planning.collectives import Collective, collectives
from videogpt_jax.planning.compiler import DoesNotFitError, compile_step
from videogpt_jax.planning.programs import Step


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What one chip does in a step. Times are lower bounds from published peaks, not measurements.

  Attributes:
    step: the program.
    topology: its slice.
    parts: bytes of each part of the arguments.
    temporaries: bytes of activations, gradients and gathered parameters, at their peak.
    peak: bytes of everything but machine code, at its peak.
    flops: operations of products and convolutions, attention's kernels included.
    kernel_flops: those of attention's kernels, by formula.
    hbm_bytes: read and written.
    collectives: what it exchanges.
  """

  step: Step
  topology: Topology
  parts: dict[str, int]
  temporaries: int
  peak: int
  flops: float
  kernel_flops: float
  hbm_bytes: float
  collectives: tuple[Collective, ...]

  @property
  def compute_seconds(self) -> float:
    """Time of the products."""
    return self.flops / self.topology.chip.flops

  @property
  def hbm_seconds(self) -> float:
    """Time of all HBM traffic."""
    return self.hbm_bytes / self.topology.chip.hbm_bandwidth

  @property
  def ici_seconds(self) -> float:
    """Time of all collectives, one after the other, each around one ring of the torus.

    A ring that does not close takes twice as long. Latency is left out.
    """
    sent = sum(c.runs * c.sent for c in self.collectives)
    return sent / self.topology.chip.ring_bandwidth * (1 if self.topology.wraps else 2)

  @property
  def seconds(self) -> float:
    """Time of a step: the longer of products and HBM traffic, which overlap, plus collectives."""
    return max(self.compute_seconds, self.hbm_seconds) + self.ici_seconds

  @property
  def communication_share(self) -> float:
    """Share of the step's time that goes to collectives."""
    return self.ici_seconds / self.seconds

  @property
  def utilisation(self) -> float:
    """Share of the peak rate of operations, recomputed ones included."""
    return self.compute_seconds / self.seconds

  @property
  def clips_per_second(self) -> float:
    """Clips per second of all chips."""
    return self.step.batch_size / self.seconds


def estimate(step: Step, topology: Topology) -> Estimate:
  """Compiles a step for the devices of its mesh and reads the program (DoesNotFitError)."""
  compiled = compile_step(step, topology)
  admitted, steps = step.attention()
  program = hlo.parse(compiled.text, steps)
  kernels = cost.kernel_flops(program, admitted)
  exchanged = collectives(program, step.mesh.shape)
  first = Estimate(
    step=step,
    topology=topology,
    parts=step.part_bytes(),
    temporaries=compiled.temporaries,
    peak=compiled.peak,
    flops=step.runs * (cost.flops(program) + kernels),
    kernel_flops=step.runs * kernels,
    hbm_bytes=step.runs * cost.hbm_bytes(program),
    collectives=tuple(dataclasses.replace(c, runs=step.runs * c.runs) for c in exchanged),
  )
  return first if step.then is None else _after(first, estimate(step.then, topology))


def _after(first: Estimate, then: Estimate) -> Estimate:
  """Returns the estimate of two programs of a step, one after the other."""
  sums = ('flops', 'kernel_flops', 'hbm_bytes', 'collectives')
  both = {name: getattr(first, name) + getattr(then, name) for name in sums}
  for name in ('temporaries', 'peak'):
    both[name] = max(getattr(first, name), getattr(then, name))
  return dataclasses.replace(first, **both)


def attempt(step: Step, topology: Topology) -> Estimate | DoesNotFitError:
  """Returns the estimate of a step, or why a chip's memory does not hold it."""
  try:
    return estimate(step, topology)
  except DoesNotFitError as error:
    return error
