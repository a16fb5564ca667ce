"""What a run says while it trains: a progress line, TensorBoard events, metrics.json."""

import json
import sys
import time
from collections.abc import Mapping

import numpy as np
from etils.epath import Path


class RunLog:
  """Progress to the terminal, scalars and videos to TensorBoard, scores to metrics.json.

  With several hosts, only the first one's log writes.
  """

  def __init__(self, name: str, steps: int, workdir: Path, writes: bool = True):
    self.name, self.steps, self.workdir, self.writes = name, steps, workdir, writes
    self.first: tuple[int, float] | None = None
    if writes:
      from videogpt_jax.training import tensorboard  # imports TensorFlow, which only a run needs

      self.writer = tensorboard.open_writer(workdir / 'tensorboard' / name)

  def __enter__(self) -> 'RunLog':
    return self

  def __exit__(self, *exception):
    if self.writes:
      self.writer.close()

  def progress(self, step: int, metrics: Mapping[str, float]):
    """Prints step, speed, time left and loss, and keeps all metrics of a training step."""
    if not self.writes:
      return
    now = time.monotonic()
    if self.first is None:  # the first step compiles, so that speed is counted from its end
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
    say(f'{line}  loss {metrics["loss"]:.4f}')

  def scores(self, step: int, metrics: Mapping[str, float]):
    """Prints and keeps scores on held-out clips."""
    if not self.writes:
      return
    self.writer.write_scalars(step, {f'test/{name}': value for name, value in metrics.items()})
    record_metrics(self.workdir, metrics)
    figures = '  '.join(f'{name} {value:.4g}' for name, value in metrics.items())
    say(f'{self.name:6s} held-out clips: {figures}')

  def videos(self, step: int, videos: Mapping[str, np.ndarray]):
    """Keeps videos float32 [B T H W 3] in [-0.5, 0.5]."""
    if self.writes and videos:
      self.writer.write_videos(step, {name: to_uint8(video) for name, video in videos.items()})


def to_uint8(video: np.ndarray) -> np.ndarray:
  """Returns video in [-0.5, 0.5] as uint8."""
  return np.clip(np.round((np.asarray(video) + 0.5) * 255), 0, 255).astype(np.uint8)


def record_metrics(workdir: Path, metrics: Mapping[str, float]):
  """Puts the figures into metrics.json, beside those of other names."""
  file = workdir / 'metrics.json'
  write_json(file, read_json(file, {}) | {name: float(value) for name, value in metrics.items()})


def read_json(file: Path, default):
  """Returns the file's content, or `default` where there is no such file."""
  return json.loads(file.read_text()) if file.exists() else default


def write_json(file: Path, content):
  """Replaces the file in one step, so that nobody ever reads half of it."""
  temporary = file.with_name(file.name + '.tmp')
  temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + '\n')
  temporary.replace(file)


def duration(seconds: float) -> str:
  """Returns h:mm:ss, or m:ss under an hour."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


def say(line: str):
  """Prints a line at once, also into a file or a pipe."""
  print(line, flush=True, file=sys.stdout)
