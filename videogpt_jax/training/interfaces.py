"""What a run gives to the training loop: batches, and a log that it reports to."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np


class Log(Protocol):
  """Receives the progress of training (training/logging.py in a run, a list in a test).

  Attributes:
    reached: the last step that an earlier run of this training told of; 0 if there was none.
  """

  reached: int

  def progress(self, step: int, metrics: Mapping[str, float]): ...

  def scores(self, step: int, metrics: Mapping[str, float]): ...

  def times(self, step: int, seconds: Mapping[str, float], ended: bool = False): ...

  def videos(self, step: int, videos: Mapping[str, np.ndarray]): ...

  def warning(self, line: str): ...


@dataclasses.dataclass(frozen=True)
class Data:
  """This host's share of a run's batches.

  Clips under `video` are float32 in [-0.5, 0.5], or uint8, which the device converts.

  Attributes:
    train: step -> endless batches from that step on.
    test: batches of every held-out clip once, padded, with `mask`.
  """

  train: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
  test: Callable[[], Iterable[Mapping[str, np.ndarray]]]
