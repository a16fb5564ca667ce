"""Decoding strategies, by name."""

from collections.abc import Callable

from videogpt_jax.errors import UserError
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import masked, sequential, speculative
from videogpt_jax.sampling.forward import Decoded

STRATEGIES: dict[str, Callable[..., Decoded]] = {
  'sequential': sequential.decode,
  'speculative': speculative.decode,
  'masked': masked.decode,
}
"""Every strategy has the arguments of `sequential.decode`; 'masked' has `passes` as well."""

AUTO = 'auto'
"""The strategy that a prior's target asks for."""


def strategy_for(strategy: str, prior: PriorConfig) -> str:
  """Returns the strategy to use: a key of `STRATEGIES`.

  Args:
    strategy: such a key, or `AUTO`.
    prior: of the model.
  Raises:
    UserError: the prior was trained for another one.
  """
  masked = prior.target == 'masked'
  if strategy == AUTO:
    return 'masked' if masked else 'sequential'
  if (strategy == 'masked') != masked:
    able = 'masked' if masked else 'sequential or speculative'
    raise UserError(
      f'strategy {strategy!r} does not fit a prior with prior.target={prior.target!r}; use {able}'
    )
  return strategy
