"""The line of progress: what is done, for how long, and how long it will still take."""

import io
import sys
import time

import pytest

from videogpt_jax import progress as progress_module
from videogpt_jax.progress import ProgressLine
from videogpt_jax.stages import draw


@pytest.fixture
def clock(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(draw.time, 'monotonic', lambda: now[0])
  return now


def test_it_says_what_is_done_for_how_long_and_the_time_left(clock, monkeypatch):
  monkeypatch.setattr(sys, 'stderr', io.StringIO())
  line = ProgressLine()
  progress = draw.DrawingProgress(lambda text: line.show(text, important=True))
  progress.compiling('the sampler')
  clock[0] += 100
  said = [progress.text()]
  for clip in range(3):  # each takes twenty seconds
    progress.drawing(clip, 3)
    for _ in range(2):
      clock[0] += 10
      said.append(progress.text())
  clock[0] += 70
  said.append(progress.text())
  assert sys.stderr.getvalue() == 'compiling the sampler\n'  # a log is told at once
  assert said == [
    'compiling the sampler, 1:40',
    'sampling: clip 1/3, 0:10',
    'sampling: clip 1/3, 0:20',
    'sampling: clip 2/3, 0:10, 0:30 left',
    'sampling: clip 2/3, 0:20, 0:20 left',
    'sampling: clip 3/3, 0:10, 0:10 left',
    'sampling: clip 3/3, 0:20, 0:00 left',
    'sampling: clip 3/3, 1:30, 0:00 left',
  ]


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.mark.parametrize('stream', [Terminal, io.StringIO])
def test_the_line_ticks_while_the_work_says_nothing(stream, monkeypatch):
  """A terminal shows every message and is left on a new line; a log gets one now and then."""
  monkeypatch.setattr(sys, 'stderr', stream())
  monkeypatch.setattr(progress_module, 'TICK_SECONDS', 0.01)
  count = iter(range(10**6))
  with ProgressLine(every=0.05).ticking(lambda: f'tick {next(count)}'):
    time.sleep(0.5)
  shown = sys.stderr.getvalue()
  if stream is Terminal:
    assert shown.startswith('\r\x1b[Ktick 0\r\x1b[Ktick 1') and shown.endswith('\n')
  else:
    assert 1 <= len(shown.splitlines()) <= 10
  assert next(count) > 2
