"""What a run reports while it trains: a progress line, metrics.json, figures for the writers."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from etils.epath import Path

from videogpt_jax import media, optional, typed
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, write_json
from videogpt_jax.pixels import to_uint8
from videogpt_jax.training.clock import PARTS
from videogpt_jax.training.history import History
from videogpt_jax.training.writers import OfStage, Several, Writer

FEW_CODES = 0.1
"""Share of the codes that could be in use below which a run warns."""

KEPT_EVERY = 10.0
"""Seconds after which a training's times are written down again."""


class RunLog:
  """Progress to the terminal, figures and videos to the writers, scores to metrics.json.

  Args:
    name: of the stage.
    steps: number of training steps.
    workdir: folder of the run.
    writes: False in all processes but the first, which then stay silent.
    devices: what the stage runs on, for the report.
    report: called when there is something new to see.
    trackers: take the figures and videos too.
  Attributes:
    reached: the last step that an earlier run told of.
    seconds: of each part of the time, those of earlier runs included.
  Raises:
    UserError: a package that training needs is not installed.
  """

  def __init__(
    self,
    name: str,
    steps: int,
    workdir: Path,
    writes: bool = True,
    devices: str = '',
    report: Callable[[], None] = lambda: None,
    trackers: Sequence[Writer] = (),
  ):
    self.name, self.steps, self.workdir, self.writes = name, steps, workdir, writes
    self.first: tuple[int, float] | None = None
    self._times, self._kept = workdir / name / 'times.json', time.monotonic()
    self.reached, self.seconds = read_times(self._times)
    self.history, self.report = History(workdir / name), report
    self.history.devices = devices or self.history.devices
    if writes:
      try:
        from videogpt_jax.training import tensorboard  # imports TensorFlow, which only a run needs
      except ModuleNotFoundError as error:
        raise (optional.explain(error) or error) from error

      events = tensorboard.Writer(workdir / 'tensorboard' / name)
      self.writer = Several([events, *(OfStage(tracker, name) for tracker in trackers)])

  def __enter__(self) -> 'RunLog':
    return self

  def __exit__(self, *exception):
    if self.writes:
      self._keep()
      self.report()
      self.writer.close()

  def _keep(self):
    self._kept = time.monotonic()
    self._times.parent.mkdir(parents=True, exist_ok=True)
    write_json(self._times, {'reached': self.reached, 'seconds': self.seconds})
    self.history.save()

  def progress(self, step: int, metrics: Mapping[str, float]):
    """Prints step, speed, time left and losses; records all metrics of a training step."""
    if not self.writes:
      return
    now = time.monotonic()
    if self.first is None:  # the first step compiles, so speed is counted from its end
      self.first = (step, now)
    scalars = {f'train/{name}': value for name, value in metrics.items()}
    done, seconds = step - self.first[0], now - self.first[1]
    line = f'{self.name:6s} step {step:>{len(str(self.steps))}d}/{self.steps}'
    if done:
      speed = done / seconds
      scalars['train/steps_per_second'] = speed
      left = duration((self.steps - step) / speed)
      line += f'  {speed:6.2f} steps/s  {left:>8s} left'
    else:
      line += '  compiled'
    self.writer.write_scalars(step, scalars)
    self.history.add(step, scalars)
    losses = {k: v for k, v in metrics.items() if k.rsplit('/', 1)[-1] == 'loss'}
    say('  '.join([line, *(f'{name} {value:.4f}' for name, value in losses.items())]))

  def times(self, step: int, seconds: Mapping[str, float], ended: bool = False):
    """Records where the time went since the last call; tells of all of it at the end.

    Args:
      step: the last one that was done.
      seconds: of each part, see `training.clock.PARTS`.
      ended: whether the training has come to its end.
    """
    self.seconds = {part: n + seconds[part] for part, n in self.seconds.items()}
    if not self.writes:
      return
    whole, total = sum(seconds.values()), sum(self.seconds.values())
    shares = {f'time/{part}': n / whole for part, n in seconds.items() if whole}
    if total:
      shares['time/goodput'] = self.seconds['steps'] / total
    self.writer.write_scalars(step, shares)
    self.reached = max(self.reached, step)
    if time.monotonic() - self._kept > KEPT_EVERY:
      self._keep()
    if ended and total:
      told = ', '.join(f'{part} {n / total:.1%}' for part, n in self.seconds.items())
      say(f'{self.name:6s} time: {told} of {duration(total)}')
      record_metrics(self.workdir, {f'{self.name}_goodput': self.seconds['steps'] / total})

  def scores(self, step: int, metrics: Mapping[str, float]):
    """Prints and records scores on held-out clips."""
    if not self.writes:
      return
    scalars = {f'test/{name}': value for name, value in metrics.items()}
    self.writer.write_scalars(step, scalars)
    self.history.add(step, scalars)
    possible = metrics.get('codebook_usage_possible', 1.0)  # less, where latents are few
    if metrics.get('codebook_usage', 1.0) < FEW_CODES * possible:
      most = f' of {possible:.1%} that they could' if possible < 1 else ''
      self.warning(
        f'held-out clips use {metrics["codebook_usage"]:.1%} of the codes{most}; lower '
        'vqvae.n_codes or the learning rate, or train on more clips a step'
      )
    record_metrics(self.workdir, metrics)
    figures = '  '.join(f'{name} {value:.4g}' for name, value in metrics.items())
    say(f'{self.name:6s} held-out clips: {figures}')

  def warning(self, line: str):
    """Prints a warning."""
    if self.writes:
      say(f'warning: {line}')

  def videos(self, step: int, videos: Mapping[str, np.ndarray]):
    """Records videos float32 [B T H W 3] in [-0.5, 0.5]."""
    if not self.writes or not videos:
      return
    videos = {name: to_uint8(video) for name, video in videos.items()}
    self.writer.write_videos(step, videos)
    for name, video in videos.items():
      try:
        sheet = media.grid(media.enlarge(video), columns=len(video))
        media.write_gif(self.workdir / f'{name}.gif', sheet, media.PREVIEW_FPS)
      except OSError as error:  # a full disk, of which saving will tell
        self.warning(f'{name}.gif is not written ({error.strerror or error})')
    self.report()


def read_times(file: Path) -> tuple[int, dict[str, float]]:
  """Returns the last step that was told of, and the seconds of each part until then."""
  found = read_json(file, {})
  try:
    reached = typed.read(found.get('reached', 0), int, 'reached')
    seconds = typed.read(found.get('seconds', {}), dict, 'seconds')
    return reached, {part: typed.read(seconds.get(part, 0.0), float, part) for part in PARTS}
  except UserError as error:
    raise UserError(
      f'{file} is broken; delete it and give the same command again ({error})'
    ) from None


def record_metrics(workdir: Path, metrics: Mapping[str, float]):
  """Puts figures into metrics.json, beside those of other names.

  NaN and infinity, which JSON lacks, become null, with a warning.
  """
  values = {name: float(value) for name, value in metrics.items()}
  for name, value in values.items():
    if not math.isfinite(value):
      say(f'warning: {name} is {value}; metrics.json gets null')
  file = workdir / 'metrics.json'
  write_json(file, read_json(file, {}) | values)


def read_metrics(workdir: Path) -> dict[str, float]:
  """Returns the figures in metrics.json by name; NaN where it says null."""
  found = read_json(workdir / 'metrics.json', {})
  for value in found.values():
    if isinstance(value, bool) or not isinstance(value, int | float | None):
      kind = type(value).__name__
      raise UserError(f'{workdir / "metrics.json"} is broken (a figure is a {kind}); delete it')
  return {name: math.nan if value is None else value for name, value in found.items()}


def duration(seconds: float) -> str:
  """Returns h:mm:ss, or m:ss under an hour."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


def say(line: str):
  """Prints a line and flushes, so that files and pipes show it at once."""
  print(line, flush=True, file=sys.stdout)
