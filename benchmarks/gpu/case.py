"""A case: one thing to measure or to check, on its own in time and in failure."""

import dataclasses
from collections.abc import Callable

Figures = dict[str, float | int | str | None]
"""What a case found, by column. With the key `fault`, it found something wrong."""


@dataclasses.dataclass(frozen=True)
class Case:
  """One row of a part.

  Attributes:
    name: of the row.
    run: returns the figures; LeftOut if there is a reason not to.
  """

  name: str
  run: Callable[[], Figures]


class LeftOut(Exception):  # noqa: N818, for it is no error
  """A case that cannot be run here; the message says why."""


def left_out(name: str, reason: str) -> Case:
  """Returns a case that is only listed, with the reason."""

  def run():
    raise LeftOut(reason)

  return Case(name, run)


def torch_or_leave_out():
  """Returns PyTorch and its device, as JAX's (LeftOut: there is none)."""
  import jax

  try:
    import torch
  except ImportError:
    raise LeftOut('PyTorch is not installed: pip install torch') from None
  if jax.default_backend() == 'cpu':
    return torch, torch.device('cpu')
  if not torch.cuda.is_available():
    raise LeftOut('this PyTorch sees no GPU')
  return torch, torch.device('cuda')
