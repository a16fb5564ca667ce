"""Reads a compiled program's text: which instructions run, how often, on arrays of which size.

XLA's own cost analysis counts the body of a loop once, however often it runs, and the layers of the
prior are a loop; here every computation has the number of times that it runs.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

ITEM_BITS = {'pred': 8, 'token': 0, 'opaque': 0, 'f8e4m3fn': 8, 'f8e5m2': 8}
"""Bits of the element types whose name does not end in them."""

FAST_MEMORY = re.compile(r'S\([1-9]\d*\)')
"""In a layout: the array is in one of the chip's own memories, not in HBM."""


@dataclasses.dataclass(frozen=True)
class Array:
  """An array of a program.

  Attributes:
    dtype: HLO's name of it.
    shape: sizes.
    in_hbm: False if it lives in a memory on the chip.
  """

  dtype: str
  shape: tuple[int, ...]
  in_hbm: bool

  @property
  def size(self) -> int:
    """Elements."""
    return math.prod(self.shape)

  @property
  def nbytes(self) -> int:
    """Bytes, padding left out."""
    bits = ITEM_BITS.get(self.dtype) or int(re.sub(r'^\D+', '', self.dtype) or 0)
    return self.size * bits // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a program.

  Attributes:
    name: unique in the program.
    opcode: 'fusion', 'all-reduce', ...
    results: the arrays that it makes.
    operands: names of what it takes.
    text: the operands and all attributes.
    is_root: whether it is its computation's result.
  """

  name: str
  opcode: str
  results: tuple[Array, ...]
  operands: tuple[str, ...]
  text: str
  is_root: bool = False

  def attribute(self, name: str) -> str | None:
    """Returns an attribute that is one word: calls=%x, condition=%y, direction=LT."""
    found = re.search(rf'\b{name}=%?([\w.\-]+)', self.text)
    return found and found.group(1)


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled module.

  Attributes:
    computations: their instructions, by name.
    entry: name of the one that runs.
  """

  computations: dict[str, dict[str, Instruction]]
  entry: str

  @functools.cached_property
  def runs(self) -> dict[str, int]:
    """How often each computation runs; those within a fusion run as often as the fusion.

    A branch of a conditional counts as taken every time.
    """
    counts: dict[str, int] = {}

    def visit(name: str, times: int):
      counts[name] = counts.get(name, 0) + times
      for instruction in self.computations[name].values():
        for called, more in self._called(instruction):
          visit(called, times * more)

    visit(self.entry, 1)
    return counts

  @functools.cached_property
  def fused(self) -> set[str]:
    """Computations that are the inside of one instruction: their arrays never see HBM."""
    inside: set[str] = set()

    def add(name: str):
      if name not in inside:
        inside.add(name)
        for instruction in self.computations[name].values():
          for called, _ in self._called(instruction):
            add(called)

    for instructions in self.computations.values():
      for instruction in instructions.values():
        if instruction.opcode == 'fusion':
          add(instruction.attribute('calls'))
    return inside

  def executed(self) -> Iterator[tuple[str, Instruction, int]]:
    """Every instruction that runs: its computation, itself, and how often."""
    for name, times in self.runs.items():
      for instruction in self.computations[name].values():
        yield name, instruction, times

  def trips(self, loop: Instruction) -> int:
    """How often the body of a `while` runs, by its condition (ValueError if that is not static)."""
    known = re.search(r'known_trip_count\D*(\d+)', loop.text)
    if known:
      return int(known.group(1))
    condition = self.computations[loop.attribute('condition')]
    limits = [n for i in condition.values() if (n := _constant(i)) is not None]
    # What jax.lax.scan and the partitioner make: a counter from 0 against one constant.
    if len(limits) != 1:
      raise ValueError(f'the trip count of {loop.name} is not in its condition: {limits}')
    return -(-limits[0] // self._stride(loop, condition))

  def _stride(self, loop: Instruction, condition: dict[str, Instruction]) -> int:
    """By how much a loop's counter grows: 2 where the compiler has put two trips into one."""
    reads = [i for i in condition.values() if i.opcode == 'get-tuple-element']
    body = self.computations[loop.attribute('body')]
    (root,) = (i for i in body.values() if i.is_root)
    if len(reads) != 1 or root.opcode != 'tuple':
      return 1
    grown = body.get(root.operands[int(reads[0].attribute('index'))])
    if grown is None or grown.opcode != 'add':
      return 1
    steps = [n for name in grown.operands if (n := _constant(body[name])) is not None]
    return steps[0] if len(steps) == 1 else 1

  def _called(self, instruction: Instruction) -> Iterator[tuple[str, int]]:
    if instruction.opcode == 'while':
      trips = self.trips(instruction)
      yield instruction.attribute('body'), trips
      yield instruction.attribute('condition'), trips + 1
    elif instruction.opcode == 'conditional':
      branches = re.search(r'branch_computations=\{([^}]*)\}', instruction.text)
      pair = re.findall(r'(?:true|false)_computation=%?([\w.\-]+)', instruction.text)
      for name in re.findall(r'[\w.\-]+', branches.group(1)) if branches else pair:
        yield name, 1
    elif instruction.opcode in ('fusion', 'call', 'async-start'):
      name = instruction.attribute('calls') or instruction.attribute('to_apply')
      if name:
        yield name, 1


def parse(text: str) -> Program:
  """Parses `compiled.as_text()`."""
  computations: dict[str, dict[str, Instruction]] = {}
  entry, current = '', None
  for line in text.splitlines():
    header = re.match(r'(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$', line)
    if header:
      current = computations.setdefault(header.group(2), {})
      entry = header.group(2) if header.group(1) else entry
    elif line.rstrip() == '}':  # constants of several lines end in more
      current = None
    elif current is not None and (instruction := _instruction(line)):
      current[instruction.name] = instruction
  if not entry:
    raise ValueError('this is no text of a compiled program: it has no ENTRY computation')
  return Program(computations, entry)


def _constant(instruction: Instruction) -> int | None:
  """The value of an integer constant."""
  found = re.match(r'\((\d+)\)', instruction.text)
  return int(found.group(1)) if found and instruction.opcode == 'constant' else None


def _instruction(line: str) -> Instruction | None:
  start = re.match(r'\s+(ROOT )?%?([\w.\-]+) = ', line)
  if not start:
    return None
  rest = line[start.end() :]
  end = _closing(rest) + 1 if rest.startswith('(') else rest.index(' ')
  opcode, _, text = rest[end:].strip().partition('(')
  text = '(' + text
  return Instruction(
    name=start.group(2),
    opcode=opcode,
    results=tuple(arrays(rest[:end])),
    operands=tuple(re.findall(r'%([\w.\-]+)', text[: _closing(text)])),
    text=text,
    is_root=bool(start.group(1)),
  )


def arrays(text: str) -> Iterator[Array]:
  """The arrays of a type as HLO writes it, tuples flattened."""
  for dtype, shape, layout in re.findall(r'([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?', text):
    sizes = tuple(int(n.lstrip('<=')) for n in shape.split(',') if n)
    yield Array(dtype, sizes, FAST_MEMORY.search(layout) is None)


def _closing(text: str) -> int:
  """The position of the parenthesis that closes the one that `text` begins with."""
  depth = 0
  for i, letter in enumerate(text):
    depth += (letter == '(') - (letter == ')')
    if not depth:
      return i
  return len(text)
