"""Published figures of TPU chips, and the slices of them.

Source: the system architecture pages of Google Cloud's documentation (docs.cloud.google.com/tpu/
docs/v4, v5e, v5p and v6e; as of 2026), except v4's interconnect: Jouppi et al. 2023 (arXiv
2304.01433), table 4, six links of 50 GB/s each way.
"""

import dataclasses
import math

from videogpt_jax.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """A chip's published peaks; nothing here was measured.

  Attributes:
    name: start of a topology's name: 'v5e'.
    flops: bfloat16 operations per second.
    hbm: bytes of memory.
    usable: bytes that the compiler (libtpu 0.0.42) lets a program use; it knows v5p more exactly.
    hbm_bandwidth: bytes per second.
    ici_bandwidth: bytes per second over all links to other chips, both directions together.
    torus: dimensions of the network.
    slices: documented topologies, the smallest first.
  """

  name: str
  flops: float
  hbm: float
  usable: float
  hbm_bandwidth: float
  ici_bandwidth: float
  torus: int
  slices: tuple[str, ...]

  @property
  def ring_bandwidth(self) -> float:
    """Bytes per second that a chip sends around one ring of the torus, both ways at once."""
    return self.ici_bandwidth / 2 / self.torus


_SLICES_2D = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_SLICES_3D = (
  '2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16', '8x16x16',
  '16x16x16',
)  # fmt: skip

CHIPS = {
  chip.name: chip
  for chip in (
    Chip('v4', 275e12, 32 * GIB, 31.25 * GIB, 1.2e12, 600e9, 3, _SLICES_3D),
    Chip('v5e', 197e12, 16 * GIB, 15.75 * GIB, 819e9, 400e9, 2, _SLICES_2D),
    Chip('v5p', 459e12, 95 * GIB, 95.74 * GIB, 2.765e12, 1200e9, 3, (*_SLICES_3D, '16x16x24')),
    Chip('v6e', 918e12, 32 * GIB, 31.25 * GIB, 1.6e12, 800e9, 2, _SLICES_2D),
  )
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """A slice: a grid of chips of one kind, `shape` chips along each dimension."""

  chip: Chip
  shape: tuple[int, ...]

  @property
  def name(self) -> str:
    """'v5e:2x4'."""
    return f'{self.chip.name}:{"x".join(map(str, self.shape))}'

  @property
  def n_chips(self) -> int:
    """Chips of the slice."""
    return math.prod(self.shape)

  @property
  def wraps(self) -> bool:
    """Whether the slice's rings close.

    Rings of v5e and v6e close along a side of 16. Links of v4 and v5p are switched, and close in
    slices of whole 4x4x4 cubes.
    """
    side = 16 if self.chip.torus == 2 else 4
    return all(size % side == 0 for size in self.shape)


def parse_topology(text: str) -> Topology:
  """Returns the slice of a name like 'v5p:4x4x8' (UserError if there is no such chip or slice)."""
  kind, _, shape = text.partition(':')
  if kind not in CHIPS:
    examples = ', '.join(f'{c.name}:{c.slices[2]}' for c in CHIPS.values())
    raise UserError(
      f'topology {text!r}: chip {kind!r} is not one of {", ".join(CHIPS)}; for example {examples}'
    )
  slices = CHIPS[kind].slices
  if shape not in slices:
    known = ', '.join(f'{kind}:{s}' for s in slices)
    raise UserError(f'topology {text!r} does not exist; slices of {kind} are {known}')
  return Topology(CHIPS[kind], tuple(int(size) for size in shape.split('x')))
