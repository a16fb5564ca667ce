"""Protocols: how many clips a score is computed from, and how often."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How sets of clips are drawn.

  Attributes:
    name: under which it is known.
    n_clips: of each set in a trial; 0 takes all there are.
    n_trials: trials, each with samples of its own; scores are their mean and standard deviation.
    source: who scores so.
  """

  name: str
  n_clips: int
  n_trials: int
  source: str

  def __post_init__(self):
    if self.n_clips < 0 or self.n_clips == 1 or self.n_trials < 1:
      raise ValueError(
        f'n_clips ({self.n_clips}) must be 0 (all) or at least 2 and n_trials ({self.n_trials}) '
        'at least 1'
      )
    if not self.n_clips and self.n_trials > 1:
      raise ValueError(f'n_trials ({self.n_trials}) must be 1 where all clips are taken')


PROTOCOLS = {
  protocol.name: protocol
  for protocol in (
    Protocol('videogpt', 256, 10, "the paper's scripts: 256 samples against 256 real clips"),
    Protocol('2048', 2048, 1, 'Skorokhodov et al. 2022 (StyleGAN-V), table 1'),
    Protocol('10k', 10_000, 1, 'large-sample FVD, of less bias'),
    Protocol('all', 0, 1, 'all clips of both sets; for sets that fit no other protocol'),
  )
}


@dataclasses.dataclass(frozen=True)
class Draw:
  """Which clips each trial takes: int64 [n_trials n_clips] of each set."""

  samples: np.ndarray
  reference: np.ndarray


def draw(
  protocol: Protocol, n_samples: int, n_reference: int, seed: int = 0, compared: bool = True
) -> Draw:
  """Draws the clips of all trials.

  Trial i takes the i-th n_clips samples, so that no sample serves twice; its real clips are drawn
  anew, without repetition.

  Args:
    protocol: how many.
    n_samples, n_reference: clips at hand.
    seed: of the choice of real clips.
    compared: False where samples are looked at alone (Inception Score). Real clips, which then only
      say what samples are conditioned on, may be fewer and serve in turn.
  Raises:
    ValueError: there are too few clips.
  """
  if not protocol.n_clips:
    if min(n_samples, n_reference) < 2:
      raise ValueError(
        f'a score needs at least 2 clips in each set, not {n_samples} samples and {n_reference} '
        'real clips; add some'
      )
    return Draw(np.arange(n_samples)[None], np.arange(n_reference)[None])
  n, trials = protocol.n_clips, protocol.n_trials
  if n_samples < n * trials or n_reference < (n if compared else 1):
    raise ValueError(
      f'protocol {protocol.name} needs {n * trials} samples ({trials} x {n}) and {n} real clips, '
      f'not {n_samples} and {n_reference}; add some, lower --n_trials, or use --protocol=all'
    )
  rng = np.random.default_rng(seed)
  reference = np.stack([np.resize(rng.permutation(n_reference), n) for _ in range(trials)])
  return Draw(np.arange(n * trials).reshape(trials, n), reference)
