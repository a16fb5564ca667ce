"""Inception Score. N samples, K classes."""

import numpy as np

from videogpt_jax.errors import UserError

_EPSILON = 1e-7  # inside the logarithms, as in the code of TGANv2 (Saito et al. 2020)


def inception_score(logits: np.ndarray, weights: np.ndarray | None = None) -> float:
  """Returns exp of the mean KL divergence of a clip's classes from the marginal, 1 to K.

  Args:
    logits: float [N K].
    weights: int [N], how often each clip counts; None counts each once.
  Raises:
    UserError: there is no clip, or a value is not finite.
  Source: Salimans et al. 2016, section 4.
  """
  logits = np.asarray(logits, np.float64)
  if not len(logits):
    raise UserError('an Inception Score needs at least one clip; add clips')
  if not np.isfinite(logits).all():
    row = int(np.argwhere(~np.isfinite(logits).all(axis=1))[0, 0])
    raise UserError(f'logits of clip {row} must be finite; check that clip')
  weights = np.ones(len(logits)) if weights is None else weights
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  p /= p.sum(axis=1, keepdims=True)
  negative_entropy = weights @ np.sum(p * np.log(p + _EPSILON), axis=1) / weights.sum()
  marginal = weights @ p / weights.sum()
  return float(np.exp(negative_entropy - np.sum(marginal * np.log(marginal + _EPSILON))))
