"""Times that can be compared: warmed up, in turns, with their spread."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds a step over several rounds."""

  median: float
  fastest: float
  slowest: float

  def in_ms(self) -> dict[str, float]:
    """Returns the three in milliseconds, as a table shows them."""
    return {'ms': 1e3 * self.median, 'fastest': 1e3 * self.fastest, 'slowest': 1e3 * self.slowest}


def repeated(f: Callable[[], Any]) -> Callable[[int], None]:
  """Returns a function that calls a JAX program n times, and waits for the last result."""

  def run(n: int):
    for _ in range(n):
      result = f()
    jax.block_until_ready(result)

  return run


def in_turns(
  runs: Mapping[str, Callable[[int], object]], rounds: int, round_seconds: float
) -> dict[str, Times]:
  """Times several ways to do the same, in turns, so that what else the machine does weighs on all.

  Args:
    runs: by name, functions that do so many steps and return when the last one is done. They are
      compiled already; two steps warm each of them up.
    rounds: of each; the median and the spread are over these.
    round_seconds: about how long a round should last, in [1, 50] steps.
  """
  steps, taken = {}, {name: [] for name in runs}
  for name, run in runs.items():
    run(1)
    steps[name] = min(max(round(round_seconds / seconds(lambda run=run: run(1))), 1), 50)
  for _ in range(rounds):
    for name, run in runs.items():
      n = steps[name]
      taken[name].append(seconds(lambda run=run, n=n: run(n)) / n)
  return {name: Times(statistics.median(t), min(t), max(t)) for name, t in taken.items()}


def seconds(f: Callable[[], object]) -> float:
  """Returns how long a call takes."""
  begun = time.perf_counter()
  f()
  return time.perf_counter() - begun
