"""The parts of `python -m benchmarks.gpu`, in order."""

from typing import NamedTuple


class Part(NamedTuple):
  """A part of the run.

  Attributes:
    module: has `ABOUT`, a text for the report, and `cases(size, out)`, which returns the part's
      cases at a size of `SIZES`; files go to the folder `out`.
    share: of the time, relative to the other parts that are run.
  """

  module: str
  share: float


PARTS = {
  'kernels': Part('benchmarks.gpu.kernels', 50),
  'prior': Part('benchmarks.gpu.prior', 65),
  'sampling': Part('benchmarks.gpu.sampling', 70),
  'vqvae': Part('benchmarks.gpu.vqvae', 40),
  'profile': Part('benchmarks.gpu.profile', 15),
}

SIZES = ('full', 'tiny')
"""Sizes of everything that is measured; 'tiny' runs on a CPU too."""
