"""The third stage: videos from the trained models, as files.

Axis letters: n videos; T H W frames, height, width.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from etils.epath import Path

from videogpt_jax import media
from videogpt_jax.files import write_json
from videogpt_jax.pixels import to_uint8
from videogpt_jax.progress import ProgressLine
from videogpt_jax.sampling.request import Callbacks
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.training.logging import duration
from videogpt_jax.videogpt import VideoGPT


@dataclasses.dataclass(frozen=True)
class Samples:
  """Generated videos, ready to be written.

  Attributes:
    videos: uint8 [n T H W 3].
    log_likelihood: float [n], nats of the drawn codes under the prior.
    labels: of the videos, or None.
    seconds_per_clip: wall time of a video, compiling left out.
  """

  videos: np.ndarray
  log_likelihood: np.ndarray
  labels: list[str] | None
  seconds_per_clip: float


def draw(model: VideoGPT, config: SampleConfig, seed: int, **given: Any) -> Samples:
  """Draws `config.num` videos; without a class label the classes take turns.

  Args:
    model: the trained models.
    config: how many and how.
    seed: video i depends on it and i.
    **given: conditions and beginnings, see `VideoGPT.request`.
  Raises:
    UserError: a condition is missing or misshapen.
  """
  told = {**(given.get('conditions') or {}), **given}
  if model.classes and told.get('class_label') is None:
    given['class_label'] = np.arange(config.num) % len(model.classes)
  request = model.request(config.num, seed, settings=config, **given)
  line = ProgressLine()
  progress = DrawingProgress(lambda text: line.show(text, important=True))
  callbacks = Callbacks(progress.compiling, progress.drawing)
  if jax.process_index():
    callbacks = None
  with line.ticking(progress.text) if callbacks else nullcontext():
    model.compile(request, callbacks)
    start = time.monotonic()
    made = model.generate(request, callbacks)
    seconds = time.monotonic() - start
  label = request.conditions.get('class_label')
  labels = None if label is None else [model.classes[i] for i in label]
  video = to_uint8(made.video, span=(0, 1))
  return Samples(video, made.log_likelihood, labels, seconds / config.num)


class DrawingProgress:
  """The progress of sampling: what is compiled or drawn, for how long, and the time left.

  A draw is one compiled program, which says nothing while it runs. (With a callback to the host, no
  compilation cache would keep it.)

  Args:
    tell: called with what is about to be compiled.
  """

  def __init__(self, tell: Callable[[str], None] = lambda text: None):
    self._tell = tell
    self._what, self._since = 'loading', time.monotonic()
    self._draw, self._n_draws, self._first = 0, 1, 0.0

  def compiling(self, what: str):
    """Must be called before a program is compiled."""
    self._what, self._since = f'compiling {what}', time.monotonic()
    self._tell(self._what)

  def drawing(self, draw: int, n_draws: int):
    """Must be called before a draw: its number from 0, and of how many."""
    self._what = f'sampling: clip {draw + 1}/{n_draws}' if n_draws > 1 else 'sampling'
    self._since, self._draw, self._n_draws = time.monotonic(), draw, n_draws
    if draw == 0:
      self._first = self._since

  def text(self) -> str:
    """Returns the line to show now."""
    now = time.monotonic()
    text = f'{self._what}, {duration(now - self._since)}'
    if self._draw:
      each = (self._since - self._first) / self._draw
      left = self._since + each * (self._n_draws - self._draw) - now
      text += f', {duration(max(left, 0))} left'
    return text


def write(
  samples: Samples,
  folder: Path,
  config: SampleConfig,
  seed: int,
  notes: Mapping[str, Any] = MappingProxyType({}),
  frame_rate: float = 0.0,
) -> list[Path]:
  """Writes samples.mp4, samples.gif (one labelled grid), each video apart, and samples.json.

  Args:
    samples: the videos.
    folder: to write to; it is made.
    config: how they were drawn.
    seed: likewise.
    notes: more to record, such as the file that was continued.
    frame_rate: frames a second of the clips, or 0 where it is unknown; `config.fps` overrides it.
  Returns:
    the files, the grids first.
  """
  each = folder / 'samples'
  each.mkdir(parents=True, exist_ok=True)
  for old in each.glob('[0-9]*.mp4'):  # of an earlier run with more videos
    old.unlink()
  fps = config.frame_rate(frame_rate)
  settings = dataclasses.asdict(config) | {'num_frames': samples.videos.shape[1], 'fps': fps}
  settings |= notes
  sheet = media.grid(media.enlarge(samples.videos), samples.labels)
  files = [folder / 'samples.mp4', folder / 'samples.gif', folder / 'samples.json']
  media.write_mp4(files[0], sheet, fps)
  media.write_gif(files[1], sheet, fps)
  for i, video in enumerate(samples.videos):
    media.write_mp4(each / f'{i:04d}.mp4', video, fps)
  write_json(
    files[2],
    {
      'seed': seed,
      'settings': settings,
      'seconds_per_clip': samples.seconds_per_clip,
      'videos': [
        {
          'file': f'samples/{i:04d}.mp4',
          'log_likelihood_nats': float(nats),
          'label': samples.labels[i] if samples.labels else None,
        }
        for i, nats in enumerate(samples.log_likelihood)
      ],
    },
  )
  return [*files, each]
