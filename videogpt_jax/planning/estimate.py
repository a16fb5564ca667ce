"""From a compiled program and a chip's published peaks: memory, work, time."""

import dataclasses

from videogpt_jax.planning import cost, hlo
from videogpt_jax.planning.chips import Topology
from videogpt_jax.planning.collectives import Collective, collectives
from videogpt_jax.planning.compiler import Compiled, compile_step
from videogpt_jax.planning.programs import Step


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What one chip does in a step. Times are lower bounds from published peaks, not measurements.

  Attributes:
    step: what was compiled.
    topology: for which slice.
    parts: bytes of each part of the arguments.
    temporaries: bytes of activations, gradients and gathered parameters, at their peak.
    peak: bytes of everything but the machine code, at its peak.
    flops: of products and convolutions, those of attention's kernels by formula.
    unknown_kernels: hand-written kernels that do not state their operations.
    hbm_bytes: read and written.
    collectives: what it exchanges.
  """

  step: Step
  topology: Topology
  parts: dict[str, int]
  temporaries: int
  peak: int
  flops: float
  unknown_kernels: int
  hbm_bytes: float
  collectives: tuple[Collective, ...]

  @property
  def compute_seconds(self) -> float:
    """Of the products, at the peak rate."""
    return self.flops / self.topology.chip.flops

  @property
  def hbm_seconds(self) -> float:
    """Of all traffic with HBM, at the peak rate."""
    return self.hbm_bytes / self.topology.chip.hbm_bandwidth

  @property
  def ici_seconds(self) -> float:
    """Of all collectives, one after the other, each around one ring of the torus.

    A ring that does not close takes twice as long. Latency is left out.
    """
    sent = sum(c.runs * c.sent for c in self.collectives)
    return sent / self.topology.chip.ring_bandwidth * (1 if self.topology.wraps else 2)

  @property
  def seconds(self) -> float:
    """A step: the larger of computing and HBM traffic, which overlap, then communicating.

    The compiler hides part of the communication, and no program reaches every peak.
    """
    return max(self.compute_seconds, self.hbm_seconds) + self.ici_seconds

  @property
  def communication_share(self) -> float:
    """Of the step's time, spent communicating."""
    return self.ici_seconds / self.seconds

  @property
  def utilisation(self) -> float:
    """Of the peak rate of operations, recomputed ones included, over the step's time."""
    return self.compute_seconds / self.seconds

  @property
  def clips_per_second(self) -> float:
    """Over all chips."""
    return self.step.batch_size / self.seconds


def estimate(step: Step, topology: Topology) -> Estimate:
  """Compiles a step for the devices of its mesh and reads the program.

  Raises:
    DoesNotFitError: the chip's memory does not hold it.
  """
  return read(step, topology, compile_step(step, topology))


def read(step: Step, topology: Topology, compiled: Compiled) -> Estimate:
  """Returns the estimate of a compiled step."""
  program = hlo.parse(compiled.text)
  unknown = cost.kernels_without_cost(program)
  return Estimate(
    step=step,
    topology=topology,
    parts=step.part_bytes(),
    temporaries=compiled.temporaries,
    peak=compiled.peak,
    flops=cost.flops(program) + (step.attention_flops if unknown else 0),
    unknown_kernels=unknown,
    hbm_bytes=cost.hbm_bytes(program),
    collectives=tuple(collectives(program, dict(step.mesh.shape))),
  )
