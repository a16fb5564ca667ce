"""Inception Score, from class probabilities that are summed batch by batch. K classes."""

import dataclasses

import numpy as np

_EPSILON = 1e-7  # inside the logarithms, as in the code of TGANv2 (Saito et al. 2020)


@dataclasses.dataclass
class ClassStatistics:
  """Sums over clips of their class probabilities and of their negative entropies."""

  count: int = 0
  probabilities: np.ndarray | float = 0.0  # float64 [K]
  negative_entropy: float = 0.0  # nats

  def add(self, logits: np.ndarray) -> None:
    """Takes in a batch of logits, float [N K].

    Raises:
      ValueError: a value is not finite.
    """
    logits = np.asarray(logits, np.float64)
    if not np.isfinite(logits).all():
      row = int(np.argwhere(~np.isfinite(logits).all(axis=1))[0, 0])
      raise ValueError(f'logits of clip {row} of the batch must be finite; look at that clip')
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    self.count += len(p)
    self.probabilities = self.probabilities + p.sum(axis=0)
    self.negative_entropy += float(np.sum(p * np.log(p + _EPSILON)))


def inception_score(statistics: ClassStatistics) -> float:
  """exp of the mean KL divergence from a clip's classes to all clips' classes: 1 to K.

  Raises:
    ValueError: no clip has been added.
  Source: Salimans et al. 2016, section 4.
  """
  if not statistics.count:
    raise ValueError('an Inception Score needs at least one clip; add one')
  marginal = statistics.probabilities / statistics.count
  mean_negative_entropy = statistics.negative_entropy / statistics.count
  return float(np.exp(mean_negative_entropy - np.sum(marginal * np.log(marginal + _EPSILON))))
