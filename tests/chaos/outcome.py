"""What became of the cases of a part."""

import collections
import dataclasses


@dataclasses.dataclass
class Outcome:
  """Counts of what happened, and a line for each case that went wrong.

  Attributes:
    counts: by what happened.
    faults: what should not have.
    most: by what was measured, the most of all cases.
  """

  counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  faults: list[str] = dataclasses.field(default_factory=list)
  most: dict[str, float] = dataclasses.field(default_factory=dict)

  def check(self, holds: bool, fault: str):
    """Notes a fault unless something holds."""
    if not holds:
      self.faults.append(fault)

  def measure(self, name: str, value: float):
    """Notes a measurement."""
    self.most[name] = max(self.most.get(name, value), value)

  def __str__(self) -> str:
    counts = [f'{n} {what}' for what, n in sorted(self.counts.items())]
    most = [f'{name} at most {value:.1f}' for name, value in self.most.items()]
    return ', '.join([*counts, *most, f'{len(self.faults)} faults'])

  def __add__(self, other: 'Outcome') -> 'Outcome':
    found = Outcome(self.counts + other.counts, self.faults + other.faults, dict(self.most))
    for name, value in other.most.items():
      found.measure(name, value)
    return found
