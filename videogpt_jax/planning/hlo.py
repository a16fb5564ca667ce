"""Reads a compiled program's text: which instructions run, how often, on arrays of which size.

XLA's own cost analysis counts the body of a loop once, and the layers of the prior are a loop.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

ITEM_BITS = {'pred': 8, 'token': 0, 'opaque': 0, 'f8e4m3fn': 8, 'f8e5m2': 8}
"""Bits of the element types whose name does not end in them."""

ARRAY = re.compile(r'([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?')

ON_CHIP = re.compile(r'S\([1-9]\d*\)')
"""In a layout: the array lives in one of the chip's own memories, not in HBM."""

LINE = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)(\(.*)')
"""An instruction: whether it is its computation's result, name, type, opcode, operands."""


class Array(NamedTuple):
  """An array of a program; `in_hbm` is False if it lives in a memory on the chip."""

  dtype: str
  shape: tuple[int, ...]
  in_hbm: bool

  @property
  def nbytes(self) -> int:
    """Bytes without padding."""
    bits = ITEM_BITS.get(self.dtype) or int(re.sub(r'^\D+', '', self.dtype) or 0)
    return math.prod(self.shape) * bits // 8


Computation = dict[str, 'Instruction']


@dataclasses.dataclass(frozen=True, eq=False)
class Instruction:
  """One line of a program.

  Attributes:
    name: unique in the program.
    opcode: 'fusion', 'all-reduce', ...
    results: the arrays that it makes.
    operands: names of its inputs.
    text: the operands and all attributes.
    is_root: whether it is its computation's result.
    siblings: all instructions of its computation by name.
    program: all computations by name.
  """

  name: str
  opcode: str
  results: tuple[Array, ...]
  operands: tuple[str, ...]
  text: str
  is_root: bool
  siblings: Computation
  program: dict[str, Computation]

  @property
  def inputs(self) -> list[Array]:
    """The arrays of all operands."""
    return [array for name in self.operands for array in self.siblings[name].results]

  @property
  def constant(self) -> int | None:
    """The value of an integer constant."""
    found = re.match(r'\((\d+)\)', self.text)
    return int(found[1]) if found and self.opcode == 'constant' else None

  def attribute(self, name: str) -> str | None:
    """Returns an attribute that is one word: calls=%x, condition=%y, direction=LT."""
    found = re.search(rf'\b{name}=%?([\w.\-]+)', self.text)
    return found and found[1]

  def called(self, dynamic_trips: float | None) -> Iterator[tuple[str, float]]:
    """Yields the computations that it runs, and how often. A conditional runs every branch."""
    if self.opcode == 'while':
      trips = self.trips(dynamic_trips)
      yield from ((self.attribute('body'), trips), (self.attribute('condition'), trips + 1))
    elif self.opcode in ('conditional', 'fusion', 'call', 'async-start'):
      named = r'(?:branch_computations=\{|calls=|to_apply=|(?:true|false)_computation=)([^}\s]*)'
      for names in re.findall(named, self.text.replace(', %', ',%')):
        yield from ((name, 1) for name in re.findall(r'[\w.\-]+', names))

  def trips(self, dynamic: float | None) -> float:
    """Returns how often the body of a `while` runs.

    Loops of jax.lax.scan and of the partitioner compare a counter, from 0, with one constant. The
    counter grows by 2 where the compiler has merged two trips into one.
    """
    condition = self.program[self.attribute('condition')].values()
    limits = [n for i in condition if (n := i.constant) is not None]
    if not limits and dynamic is not None:
      return dynamic
    if len(limits) != 1:
      raise ValueError(f'the trip count of {self.name} is not in its condition: {limits}')
    index = [int(i.attribute('index')) for i in condition if i.opcode == 'get-tuple-element']
    body = self.program[self.attribute('body')]
    (root,) = (i for i in body.values() if i.is_root)
    grown = body.get(root.operands[index[0]]) if len(index) == 1 else None
    operands = grown.operands if grown and grown.opcode == 'add' else ()
    steps = [n for name in operands if (n := body[name].constant) is not None]
    return -(-limits[0] // (steps[0] if len(steps) == 1 else 1))


class Executed(NamedTuple):
  """An instruction, how often it runs, and whether inside a fusion, whose arrays never see HBM."""

  instruction: Instruction
  runs: float
  fused: bool


def parse(text: str, dynamic_trips: float | None = None) -> list[Executed]:
  """Returns what a program runs.

  Args:
    text: `compiled.as_text()`.
    dynamic_trips: mean trip count of the loops whose trip count is data.
  """
  program: dict[str, Computation] = {}
  entry, siblings = '', None
  for line in text.splitlines():
    if header := re.match(r'(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$', line):
      siblings = program.setdefault(header[2], {})
      entry = header[2] if header[1] else entry
    elif line.rstrip() == '}':  # a constant of several lines ends in more than that
      siblings = None
    elif siblings is not None and (found := LINE.match(line)):
      root, name, results, opcode, rest = found.groups()
      operands = tuple(re.findall(r'%([\w.\-]+)', rest.partition('), ')[0]))
      siblings[name] = Instruction(
        name, opcode, tuple(arrays(results)), operands, rest, bool(root), siblings, program
      )
  if not entry:
    raise ValueError('this is no text of a compiled program: it has no ENTRY computation')

  def visit(name: str, runs: float, fused: bool) -> Iterator[Executed]:
    for instruction in program[name].values():
      yield Executed(instruction, runs, fused)
      for called, times in instruction.called(dynamic_trips):
        yield from visit(called, runs * times, fused or instruction.opcode == 'fusion')

  return list(visit(entry, 1, False))


def arrays(text: str) -> Iterator[Array]:
  """Yields the arrays of a type as HLO writes it, tuples flattened."""
  for dtype, shape, layout in ARRAY.findall(text):
    sizes = tuple(int(n.lstrip('<=')) for n in shape.split(',') if n)
    yield Array(dtype, sizes, not ON_CHIP.search(layout))
