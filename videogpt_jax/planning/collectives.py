"""The collective operations of a compiled program: kinds, counts, participants, bytes."""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from videogpt_jax.planning.hlo import Executed

KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective operation of a program.

  Attributes:
    kind: one of `KINDS`.
    axes: mesh axes that it spans; () without a mesh.
    group: number of devices in each of its groups.
    payload: bytes of the whole array that a group reduces, gathers or exchanges.
    runs: number of times that a step runs it.
    source: the operation of the model that caused it, from the compiler's metadata.
  """

  kind: str
  axes: tuple[str, ...]
  group: int
  payload: int
  runs: float
  source: str

  @property
  def sent(self) -> float:
    """Bytes that a device sends each time, by a ring algorithm (optimal in bandwidth).

    Source: Thakur et al. 2005, "Optimization of collective communication operations in MPICH".
    """
    share = (self.group - 1) / self.group
    return self.payload * {'all-reduce': 2 * share, 'collective-permute': 1}.get(self.kind, share)


def collectives(program: Iterable[Executed], mesh: Mapping[str, int]) -> Iterator[Collective]:
  """Yields the collective operations that a step runs among two or more devices.

  Args:
    program: what runs.
    mesh: sizes of the mesh's axes, to name those that an operation spans; may be empty.
  """
  for operation, runs, fused in program:
    kind, text = operation.opcode.removesuffix('-start'), operation.text
    around = operation.siblings.values() if fused else ()
    # One that the TPU compiler runs in the background of several fusions is named in each of them.
    starts = not fused or any('AsyncCollectiveStart' in i.text for i in around)
    if kind not in KINDS or not (starts or 'chain_id=' not in text):
      continue
    groups = device_groups(text)
    group = max((len(set(g)) for g in groups), default=1)
    # A TPU's reduce-scatter is a fusion of an all-reduce and the slice that is kept.
    if kind == 'all-reduce' and any(i.is_root and i.opcode == 'dynamic-slice' for i in around):
      kind = 'reduce-scatter'
    payload = sum(a.nbytes for a in operation.inputs) * (group if kind == 'all-gather' else 1)
    source = re.search(r'op_name="([^"]*)"', text)
    if group > 1:
      axes = _axes(groups, mesh) if mesh else ()
      yield Collective(kind, axes, group, payload, runs, source[1] if source else '')


def device_groups(text: str) -> list[list[int]]:
  """Returns the devices of each group, from any of HLO's notations."""
  if listed := re.search(r'(?:source_target_pairs|replica_groups)=\{(\{.*?\})\}', text):
    return [list(map(int, g.split(','))) for g in re.findall(r'\{([\d,]+)\}', listed[1])]
  if iota := re.search(r'replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)', text):
    return _iota(iota[2]).reshape(_numbers(iota[1])).tolist()
  # Along some axes of a mesh of its own: mesh['a'=2,'b'=4], device_ids=([8]) {'b'}.
  if named := re.search(r'replica_groups=mesh\[([^]]*)\](.*?)\{([^}:]*)\}', text):
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", named[1])}
    order = re.search(r'\[[\d,]+\](?:T\([\d,]+\))?', named[2])
    devices = _iota(order[0] if order else f'[{math.prod(sizes.values())}]')
    along = [i for i, name in enumerate(sizes) if f"'{name}'" in named[3]]
    devices = np.moveaxis(devices.reshape(list(sizes.values())), along, range(-len(along), 0))
    return devices.reshape(-1, math.prod(devices.shape[-len(along) :])).tolist()
  if 'replica_groups=' in text and 'replica_groups={}' not in text:
    raise ValueError(f'unknown notation of device groups: {text}')
  return []


def _iota(text: str) -> np.ndarray:
  """[4,2]T(1,0) -> device numbers in this order."""
  sizes, _, order = text.partition('T')
  devices = np.arange(math.prod(_numbers(sizes))).reshape(_numbers(sizes))
  return devices.transpose(_numbers(order)) if order else devices


def _numbers(text: str) -> list[int]:
  return [int(n) for n in re.findall(r'\d+', text)]


def _axes(groups: list[list[int]], mesh: Mapping[str, int]) -> tuple[str, ...]:
  """Returns the mesh axes along which the devices of a group differ."""
  places = [np.stack(np.unravel_index(group, tuple(mesh.values()))) for group in groups]
  differ = np.any([(place != place[:, :1]).any(axis=1) for place in places], axis=0)
  return tuple(name for name, varies in zip(mesh, differ, strict=True) if varies)


def by_kind(found: Iterable[Collective]) -> dict[str, tuple[float, float]]:
  """Returns for each kind how many a step runs, and the bytes that a device sends for them."""
  sums: dict[str, tuple[float, float]] = {}
  for c in found:
    count, sent = sums.get(c.kind, (0, 0.0))
    sums[c.kind] = count + c.runs, sent + c.runs * c.sent
  return sums
