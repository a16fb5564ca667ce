"""Decoding strategies, by name."""

from collections.abc import Callable

from videogpt_jax.sampling import sequential, speculative
from videogpt_jax.sampling.forward import Decoded

STRATEGIES: dict[str, Callable[..., Decoded]] = {
  'sequential': sequential.decode,
  'speculative': speculative.decode,
}
"""Every strategy has the arguments of `sequential.decode`."""
