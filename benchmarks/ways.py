"""Ways to decode, with what they take and what they give; `benchmarks.decoding` prints them."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etils.epath import Path

from benchmarks import timing
from videogpt_jax import input as data
from videogpt_jax import load_videogpt, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import class_accuracy, compare, model_clips, model_sets, networks
from videogpt_jax.evaluation.protocols import Protocol
from videogpt_jax.generation import Request
from videogpt_jax.input import pipeline
from videogpt_jax.models.conditioners import from_batch
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.videogpt import VideoGPT

_TOGETHER = 8


class Way(NamedTuple):
  """A model and how it draws."""

  name: str
  model: VideoGPT
  experiment: Experiment
  settings: SamplingSettings


class Row(NamedTuple):
  """What a way takes and gives.

  Attributes:
    name: of the way.
    seconds: a video, of eight together.
    passes: through the prior, mean over these.
    quality: 'fvd' and, for single digits, 'class_accuracy': text with 95 % intervals.
  """

  name: str
  seconds: float
  passes: float
  quality: dict[str, str]


def rows(models: Sequence[str], passes: Sequence[int], num: int, rounds: int) -> Iterator[Row]:
  """Yields the rows of workdirs' models; passes are those of priors of masked codes."""
  ways = [way for path in models for way in _ways(Path(path), passes)]
  requests = {way.name: _request(way) for way in ways}
  draws = {
    way.name: timing.repeated(lambda way=way: way.model.generate(requests[way.name]).video)
    for way in ways
  }
  times, nets = timing.in_turns(draws, rounds, round_seconds=1.0), networks.load_networks(None)
  for way in ways:
    taken = way.model.generate(requests[way.name]).passes.mean()
    seconds = times[way.name].median / _TOGETHER
    yield Row(way.name, seconds, float(taken), _quality(way, num, nets))


def _ways(path: Path, passes: Sequence[int]) -> list[Way]:
  model, experiment = load_videogpt(path), workdir.read_experiment(path)
  changes = {name: {'strategy': name} for name in ('sequential', 'speculative')}
  if model.config.target == 'masked':
    changes = {f'{n} passes': {'passes': n} for n in passes}
  drawn = dataclasses.replace(experiment.sample.settings, num_frames=0)
  return [
    Way(f'{path.name}, {name}', model, experiment, dataclasses.replace(drawn, **change))
    for name, change in changes.items()
  ]


def _request(way: Way) -> Request:
  """Returns a request for videos under held-out conditions."""
  real = pipeline.first_test_clips(way.experiment.dataset, _TOGETHER)
  conditions = from_batch(real, way.model.config)
  return way.model.request(_TOGETHER, conditions=conditions, settings=way.settings)


def _quality(way: Way, num: int, nets: networks.Networks) -> dict[str, str]:
  dataset = way.experiment.dataset
  protocol = Protocol(str(num), num, 1, 'benchmarks.decoding')
  drawing, found = model_sets.Drawing(protocol, way.settings), {}
  real = lambda split: data.real_batches(dataset, split=split, start=None, batch_size=16)
  with tempfile.TemporaryDirectory() as folder:
    sets = model_sets.generator_sets(way.model, real('test'), drawing, Path(folder))
    result = compare.compare(dataclasses.replace(sets, reconstructions=None), protocol, nets)
    if 'fvd' in result['scores']:
      found['fvd'] = _told(result['scores']['fvd'], result['intervals']['fvd'], 0)
    if sets.classes is not None and class_accuracy.tells(dataset):
      training = model_clips.collect(real('train'), 1000)
      made = sets.samples.read(range(len(sets.samples))), sets.classes
      shown = class_accuracy.class_accuracy(
        (training['video'], training['label']), {'class_accuracy': made}
      )
      found |= {name: _told(x.value, x.interval, 2) for name, x in shown.items()}
  return found


def _told(value: float, interval: Sequence[float], digits: int) -> str:
  low, high = interval
  return f'{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'
