"""Traces of a few training steps, for TensorBoard's profile page and for Perfetto."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
from etils.epath import Path

from videogpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class ProfileSteps:
  """Steps from `first` to `last`, both of them included."""

  first: int
  last: int

  @classmethod
  def parse(cls, text: str) -> 'ProfileSteps':
    """Returns the steps that a flag names, such as '10-12' or '10' (UserError: it names none)."""
    found = re.fullmatch(r'(\d{1,9})(?:-(\d{1,9}))?', text)
    if not found or not 1 <= int(found[1]) <= int(found[2] or found[1]):
      raise UserError(f'--profile_steps ({text}) must be FIRST-LAST, counted from 1, such as 10-12')
    return cls(int(found[1]), int(found[2] or found[1]))

  def check(self, stage: str, steps: int):
    """Refuses steps that a stage does not take (UserError), unless it takes none at all."""
    if 0 < steps < self.last:
      raise UserError(
        f'--profile_steps ({self}) must end by the last step of {stage}, {steps}; name earlier '
        'steps, or leave the stage out of --stages'
      )

  def __str__(self) -> str:
    return f'{self.first}-{self.last}'


class Profiler:
  """Traces the steps of a stage, once.

  Args:
    steps: which; None for none.
    folder: of the stage's TensorBoard events, where `plugins/profile/TIME` holds the trace.
    say: prints a line.
  """

  def __init__(
    self,
    steps: ProfileSteps | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
  ):
    self._steps, self._folder, self._say, self._traces = steps, folder, say, False

  def __enter__(self) -> 'Profiler':
    return self

  def __exit__(self, *exception):
    if self._traces:  # training ends in mid-trace
      self._traces = False
      jax.profiler.stop_trace()

  def resumed(self, step: int):
    """Notes that training goes on after this step: later ones alone can be traced."""
    if self._steps and self._steps.first <= step:
      self._say(f'steps {self._steps} are not traced, since training goes on at step {step + 1}')
      self._steps = None

  def starts(self, step: int) -> bool:
    """Whether the trace has to be started before this step."""
    return self._steps is not None and step == self._steps.first and not self._traces

  def ends(self, step: int) -> bool:
    """Whether it has to be ended after this step."""
    return self._traces and step == self._steps.last

  def start(self, state: Any):
    """Starts the trace, when all that the state depends on has been computed."""
    jax.block_until_ready(state)
    jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
    self._traces = True

  def end(self, state: Any):
    """Ends the trace, when the state has been computed, and says where it is."""
    jax.block_until_ready(state)
    jax.profiler.stop_trace()
    traced, self._steps, self._traces = self._steps, None, False
    self._say(f'steps {traced} are traced in {self._folder / "plugins" / "profile"}')
