"""The end of the stage `evaluate`: FVD of samples, reconstructions and held-out clips."""

import time
from collections.abc import Callable

import jax
from etils.epath import Path

from videogpt_jax import optional
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import feature_networks, networks, record
from videogpt_jax.stages import score as scores
from videogpt_jax.training.logging import record_metrics
from videogpt_jax.videogpt import VideoGPT


def score(model: VideoGPT, experiment: Experiment, path: Path, say: Callable[[str], None]):
  """Scores samples by FVD, where that is possible; says why where it is not.

  Args:
    model: the trained one.
    experiment: how many clips to score, by which protocol.
    path: the workdir, which gets evaluation.json and the figures.
    say: prints a line.
  """
  n = experiment.evaluation.fvd_clips
  if jax.process_count() > 1:
    say('evaluate: no FVD, which is for one process alone; use videogpt_jax.evaluate')
    return
  if feature_networks.installed_i3d() is None:
    say(f'evaluate: no FVD without I3D; {optional.install("fvd")}')
    return
  say(f'evaluate: FVD of {n} samples, reconstructions and held-out clips')
  start = time.monotonic()
  scoring = scores.Scoring(
    experiment.evaluation.protocol,
    networks.load_networks(feature_networks.INSTALLED),
    experiment.seed,
  )
  result = scores.score_clips(model, experiment, path, scoring)
  record.write(result, path / 'evaluation.json')
  record_metrics(path, record.as_metrics(result) | {'fvd_seconds': time.monotonic() - start})
