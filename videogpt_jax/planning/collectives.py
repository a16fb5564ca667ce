"""The collective operations of a compiled program: kinds, how often, among whom, how many bytes."""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from videogpt_jax.planning.hlo import Instruction, Program

KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective operation of a program.

  Attributes:
    kind: of `KINDS`.
    axes: axes of the mesh that it spans; () if the program has no mesh or the exchange is none of
      whole axes.
    group: devices that take part in each of its groups.
    payload: bytes of the whole array that a group reduces, gathers or exchanges.
    runs: how often a step runs it.
    name: of the instruction.
    source: the operation of the model that it belongs to, as the compiler noted it.
  """

  kind: str
  axes: tuple[str, ...]
  group: int
  payload: int
  runs: int
  name: str
  source: str

  @property
  def sent(self) -> float:
    """Bytes that a device sends, each time: of a ring algorithm, which is optimal for bandwidth.

    Source: Thakur et al. 2005, "Optimization of collective communication operations in MPICH".
    """
    share = (self.group - 1) / self.group
    return self.payload * {'all-reduce': 2 * share, 'collective-permute': 1}.get(self.kind, share)


def collectives(program: Program, mesh: dict[str, int] | None = None) -> Iterator[Collective]:
  """The collective operations that a step runs, those among a single device left out.

  Args:
    program: the compiled step.
    mesh: sizes of the mesh's axes, to name those that an operation spans.
  """
  for computation, instruction, runs in program.executed():
    kind = instruction.opcode.removesuffix('-start')
    if kind not in KINDS or _continues(program, computation, instruction):
      continue
    instructions = program.computations[computation]
    given = sum(
      array.nbytes
      for name in instruction.operands
      if name in instructions
      for array in instructions[name].results
    )
    groups = device_groups(instruction.text)
    group = max((len(set(g)) for g in groups), default=1)
    if group < 2:
      continue
    if kind == 'all-reduce' and _scatters(program, computation):
      kind = 'reduce-scatter'
    source = re.search(r'op_name="([^"]*)"', instruction.text)
    yield Collective(
      kind=kind,
      axes=_axes(groups, mesh or {}),
      group=group,
      payload=given * group if kind == 'all-gather' else given,
      runs=runs,
      name=instruction.name,
      source=source.group(1) if source else '',
    )


def _continues(program: Program, computation: str, instruction: Instruction) -> bool:
  """Whether this repeats an operation that was started elsewhere.

  The TPU compiler runs a collective in the background of others' fusions; each of them names it
  again, and only the first one starts it.
  """
  if computation not in program.fused or 'chain_id=' not in instruction.text:
    return False
  return not any(
    'AsyncCollectiveStart' in i.text for i in program.computations[computation].values()
  )


def _scatters(program: Program, computation: str) -> bool:
  """Whether an all-reduce is half of a fusion that keeps one share: a TPU's reduce-scatter."""
  if computation not in program.fused:
    return False
  instructions = program.computations[computation].values()
  return any(i.is_root and i.opcode == 'dynamic-slice' for i in instructions)


def device_groups(text: str) -> list[list[int]]:
  """The devices of each group, from any of the ways in which HLO writes them."""
  if pairs := re.search(r'source_target_pairs=\{(\{.*?\})\}', text):
    links = [tuple(map(int, p.split(','))) for p in re.findall(r'\{([\d,]+)\}', pairs.group(1))]
    return [list(link) for link in links]
  if listed := re.search(r'replica_groups=\{(\{.*?\})\}', text):
    return [list(map(int, g.split(','))) for g in re.findall(r'\{([\d,]+)\}', listed.group(1))]
  if iota := re.search(r'replica_groups=\[(\d+),(\d+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)', text):
    return _iota(iota.group(3)).reshape(int(iota.group(1)), int(iota.group(2))).tolist()
  if named := re.search(r'replica_groups=mesh\[([^]]*)\](.*?)\{([^}]*)\}', text):
    return _named_groups(*named.groups())
  return []


def _named_groups(axes: str, order: str, chosen: str) -> list[list[int]]:
  """Groups along some of the axes of a mesh: mesh['a'=2,'b'=4], device_ids=([8]) {'b'}."""
  sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
  ids = re.search(r'\[[\d,]+\](?:T\([\d,]+\))?', order)
  devices = _iota(ids.group(0)) if ids else np.arange(math.prod(sizes.values()))
  shape, along = [], []
  parts = {n: (p, s) for n, p, s in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen)}
  for name, size in sizes.items():
    before, taken = parts.get(name, ('1', '1'))
    before, taken = int(before or 1), int(taken or size)
    along.append(len(shape) + 1)
    shape += [before, taken, size // before // taken]
  devices = np.moveaxis(devices.reshape(shape), along, range(-len(along), 0))
  group = math.prod(devices.shape[-len(along) :])
  return devices.reshape(-1, group).tolist()


def _iota(text: str) -> np.ndarray:
  """[4,2]T(1,0) -> device numbers in this order."""
  sizes, _, order = text.partition('T')
  sizes = [int(n) for n in re.findall(r'\d+', sizes)]
  devices = np.arange(math.prod(sizes)).reshape(sizes)
  return devices.transpose([int(n) for n in re.findall(r'\d+', order)]) if order else devices


def _axes(groups: Sequence[Sequence[int]], mesh: dict[str, int]) -> tuple[str, ...]:
  """The axes of the mesh along which the devices of a group differ."""
  if not mesh:
    return ()
  sizes = tuple(mesh.values())
  differ = np.zeros(len(sizes), bool)
  for group in groups:
    places = np.stack(np.unravel_index(np.asarray(group), sizes))
    differ |= (places != places[:, :1]).any(axis=1)
  return tuple(name for name, varies in zip(mesh, differ, strict=True) if varies)


def by_kind(found: Iterable[Collective]) -> dict[str, tuple[int, float]]:
  """For each kind: how many a step runs, and the bytes that a device sends for them."""
  sums: dict[str, tuple[int, float]] = {}
  for collective in found:
    count, sent = sums.get(collective.kind, (0, 0.0))
    runs = collective.runs
    sums[collective.kind] = count + runs, sent + runs * collective.sent
  return sums
