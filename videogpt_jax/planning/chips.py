"""Published figures of TPU chips, and the slices that can be had of them.

Source: the system architecture pages of Google Cloud's documentation (docs.cloud.google.com/tpu/
docs/v4, v5e, v5p and v6e; as of 2026), but for v4's interconnect: Jouppi et al. 2023
(arXiv 2304.01433), table 4, six links of 50 GB/s each way.
"""

import dataclasses
import math

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """A chip's published peaks; nothing here was measured.

  Attributes:
    name: as topologies begin: 'v5e'.
    flops: bfloat16 operations a second.
    hbm: bytes of memory.
    usable: bytes that the compiler (libtpu 0.0.42) lets a program use; it knows v5p more exactly.
    hbm_bandwidth: bytes a second.
    ici_bandwidth: bytes a second over all links to other chips, both directions together.
    torus: dimensions of the network.
    slices: topologies that the documentation lists, the smallest first.
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
    """Bytes a second that a chip sends around one ring of the torus, both ways at once."""
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
  """A slice: some chips of one kind in a grid.

  Attributes:
    chip: their kind.
    shape: chips along each dimension.
  """

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

    Those of v5e and v6e do along a whole side of 16; those of v4 and v5p, whose links are switched,
    in slices of whole 4x4x4 cubes.
    """
    side = 16 if self.chip.torus == 2 else 4
    return all(size % side == 0 for size in self.shape)


def parse_topology(text: str) -> Topology:
  """Returns the slice of a name like 'v5p:4x4x8'.

  Raises:
    ValueError: no such chip or slice; it lists those that there are.
  """
  kind, _, shape = text.partition(':')
  chip = CHIPS.get(kind)
  if chip is None:
    examples = ', '.join(f'{c.name}:{c.slices[2]}' for c in CHIPS.values())
    raise ValueError(
      f'topology {text!r}: chip {kind!r} is not one of {", ".join(CHIPS)}; for example {examples}'
    )
  if shape not in chip.slices:
    raise ValueError(
      f'topology {text!r} does not exist; slices of {kind} are '
      f'{", ".join(f"{kind}:{s}" for s in chip.slices)}'
    )
  return Topology(chip, tuple(int(size) for size in shape.split('x')))
