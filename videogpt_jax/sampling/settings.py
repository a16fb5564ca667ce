"""Sampling settings: one set for configuration, flags, Python, scoring and planning.

Axis letters: K n_codes; T frames of a video.
"""

import dataclasses
import difflib
import math
from typing import Any

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.models.conditioners import wanted
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.strategies import AUTO, STRATEGIES, strategy_for

MOST_PASSES = 2**18
"""Passes for a clip: as many as a clip has codes, at most."""

MOST_FRAMES = 2**20
"""Frames of a video: ten hours of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingSettings:
  """How codes are drawn, and how long the videos are.

  Attributes:
    temperature: divides the logits; 0 takes the most likely code at every step.
    top_k: keeps only this many of the most likely codes, in [1, K]; None keeps all.
      Codes of several factors are drawn factor by factor, and top_k and top_p hold for each.
    top_p: only the most likely codes that together reach this probability remain, in (0, 1]; None
      keeps all.
    guidance: extrapolates from the logits without a condition (0) through those with it (1). Values
      other than 1 need a prior that was trained with `prior.cond_dropout`.
    best_of: draws of each clip, of which the likeliest is kept.
    num_frames: T; 0 makes clips of the trained length. A longer video is made of clips that begin
      with the last frames of the one before.
    strategy: how codes follow one another, a key of `sampling.strategies.STRATEGIES`; 'auto' takes
      what the prior was trained for. 'sequential' and 'speculative' make the same videos, up to
      near-ties; see docs/sampling.md.
    passes: through a prior that decodes in parallel, for a clip; 0 takes 12.
  """

  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  guidance: float = 1.0
  best_of: int = 1
  num_frames: int = 0
  strategy: str = AUTO
  passes: int = 0

  def __post_init__(self):
    if not 0 <= self.temperature < math.inf:
      raise UserError(
        f'temperature ({self.temperature}) must not be negative, and finite; 0 is greedy'
      )
    if self.top_p is not None and not 0 < self.top_p <= 1:
      raise UserError(f'top_p ({self.top_p}) must be in (0, 1]')
    if not 0 <= self.guidance < math.inf:
      raise UserError(f'guidance ({self.guidance}) must be 0 or more; 1 is none, 2 to 4 are usual')
    if self.best_of < 1:
      raise UserError(f'best_of ({self.best_of}) must be at least 1; 1 keeps every draw')
    typed.at_most('sample', self, {'best_of': 2**16, 'num_frames': MOST_FRAMES})
    if self.num_frames < 0:
      raise UserError(f'num_frames ({self.num_frames}) must be at least 1, or 0 for a clip')
    if self.strategy not in (names := (AUTO, *STRATEGIES)):
      raise UserError(f'strategy {self.strategy!r} is not one of {", ".join(names)}')
    if not 0 <= self.passes <= MOST_PASSES:
      raise UserError(f'passes ({self.passes}) must be in [1, {MOST_PASSES}], or 0 for the default')

  def check(self, n_codes: int, prior: PriorConfig):
    """Refuses what a model cannot do (UserError).

    Args:
      n_codes: K.
      prior: of the model.
    """
    strategy, top_k = strategy_for(self.strategy, prior), self.top_k
    if self.passes and strategy != 'masked':
      raise UserError(
        f'passes ({self.passes}) are for a prior with prior.target=masked; leave them out'
      )
    if top_k is not None and not (1 <= top_k <= n_codes and top_k == int(top_k)):
      raise UserError(f'top_k ({self.top_k}) must be in [1, {n_codes}], a whole number of codes')
    if self.guidance == 1:
      return
    if not wanted(prior):
      raise UserError(f'guidance ({self.guidance}) needs a prior that is conditioned on something')
    if not prior.cond_dropout:
      raise UserError(
        f'guidance ({self.guidance}) needs a prior that has learnt to do without its condition, '
        'and this one was trained with prior.cond_dropout=0; train one with '
        '--config.prior.cond_dropout=0.1'
      )

  @property
  def controls(self) -> Controls:
    """The controls that turn logits into codes; a setting that is off is None there."""
    return Controls(
      temperature=self.temperature or None,
      top_k=None if self.top_k is None else int(self.top_k),
      top_p=self.top_p,
      guidance=None if self.guidance == 1 else self.guidance,
    )

  @property
  def settings(self) -> 'SamplingSettings':
    """These settings alone, without what a subclass adds."""
    fields = dataclasses.fields(SamplingSettings)
    return SamplingSettings(**{field.name: getattr(self, field.name) for field in fields})


_FRAME_RATE = 8  # of clips whose own is unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(SamplingSettings):
  """Section `sample` of a configuration: what the sample stage makes.

  Attributes:
    num: videos in all; with classes, they take turns.
    fps: frames a second of the files that are written; 0 takes those of the clips, or 8 where they
      are unknown.
  """

  num: int = 16
  fps: int = 0

  def __post_init__(self):
    super().__post_init__()
    for name, least in (('num', 1), ('fps', 0)):
      if getattr(self, name) < least:
        raise UserError(f'sample.{name} ({getattr(self, name)}) must be at least {least}')
    typed.at_most('sample', self, {'num': 2**24, 'fps': 1000})

  def frame_rate(self, clips: float) -> float:
    """Returns the frames a second of the files, given those of the clips (0: unknown)."""
    return self.fps or clips or _FRAME_RATE


def make_settings(values: dict[str, Any]) -> SamplingSettings:
  """Returns settings of keywords; None leaves a default.

  Raises:
    UserError: a keyword is unknown, or a value impossible.
  """
  names = [field.name for field in dataclasses.fields(SamplingSettings)]
  for name in values:
    if name not in names:
      near = difflib.get_close_matches(name, names, 1)
      hint = f'did you mean {near[0]!r}?' if near else f'settings are {", ".join(names)}'
      raise UserError(f'unknown setting {name!r}; {hint}')
  return SamplingSettings(**{name: x for name, x in values.items() if x is not None})
