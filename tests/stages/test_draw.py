"""The line of progress: what is done, and how long it will still take."""

import io
import sys

import pytest

from videogpt_jax.stages import draw


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.fixture
def clock(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(draw.time, 'monotonic', lambda: now[0])
  return now


def draw_two_clips(clock):
  """Each 16 of 64 codes take ten seconds."""
  progress = draw.DrawingProgress(n_codes=64)
  progress.compiling('the sampler')
  clock[0] += 100
  for clip in (0, 1):
    progress.drawing(clip, 2)
    for done in (0, 16, 32, 48):
      progress.codes(done)
      clock[0] += 10
  progress.close()


def test_a_terminal_shows_the_time_left(clock, monkeypatch):
  monkeypatch.setattr(sys, 'stderr', Terminal())
  draw_two_clips(clock)
  lines = [line.strip() for line in sys.stderr.getvalue().split('\r\x1b[K') if line.strip()]
  assert lines == [
    'compiling the sampler',
    'sampling: 0/64 codes of clip 1/2',
    'sampling: 16/64 codes of clip 1/2, 1:10 left',
    'sampling: 32/64 codes of clip 1/2, 1:00 left',
    'sampling: 48/64 codes of clip 1/2, 0:50 left',
    'sampling: 0/64 codes of clip 2/2, 0:40 left',
    'sampling: 16/64 codes of clip 2/2, 0:30 left',
    'sampling: 32/64 codes of clip 2/2, 0:20 left',
    'sampling: 48/64 codes of clip 2/2, 0:10 left',
  ]


def test_a_log_gets_a_line_now_and_then(clock, monkeypatch):
  monkeypatch.setattr(sys, 'stderr', io.StringIO())
  draw_two_clips(clock)
  assert sys.stderr.getvalue().splitlines() == [
    'compiling the sampler',
    'sampling: 0/64 codes of clip 1/2',
    'sampling: 0/64 codes of clip 2/2, 0:40 left',
  ]
