"""The order in which blockwise attention visits blocks; empty blocks are skipped."""

import dataclasses

import numpy as np

from videogpt_jax.models.attention.masks import CausalMask
from videogpt_jax.models.placement import platform

ROWS = 512
"""Queries in a step, and about as many keys: large enough for fast products, small enough for
caches."""

CPU_SPARSE_ROWS = 128
"""Queries in a step of a sparse layout on CPU, where each block fetches keys of its own: a quarter
less work than `ROWS`. On a TPU it would cause a third more memory traffic."""


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
  """The blocks of keys that each block of queries visits.

  Attributes:
    block: positions in a block.
    chunk: number of blocks of queries that are computed side by side.
    group: number of blocks of keys that each of them visits in a step.
    keys: int32 [chunks chunk steps*group], indices of blocks of keys; -1 is none.
    steps: int32 [chunks], number of steps of each chunk.
  """

  block: int
  chunk: int
  group: int
  keys: np.ndarray
  steps: np.ndarray

  @property
  def n_visited(self) -> int:
    """Number of pairs of blocks that are computed, including padding of steps."""
    return int(self.steps.sum()) * self.chunk * self.group


def make_schedule(n_queries: int, n_keys: int, mask: CausalMask | None) -> Schedule:
  """Returns the schedule for `n_queries` queries and `n_keys` keys under a mask."""
  if mask is not None and mask.layout is not None:
    block, layout = mask.block, np.tril(mask.layout)
  else:
    # Multiples of 8 that divide the longer side evenly need little padding.
    longest = max(n_queries, n_keys)
    block = -(-longest // -(-longest // ROWS) // 8) * 8
    layout = np.ones((-(-n_queries // block), -(-n_keys // block)), bool)
    layout = layout if mask is None else np.tril(layout)
  most = int(layout.sum(axis=1).max())
  n_steps = -(-most * block // ROWS) if block < ROWS else most
  group = -(-most // n_steps)
  rows = CPU_SPARSE_ROWS if platform() == 'cpu' and block < ROWS else ROWS
  chunk = min(max(rows // block, 1), len(layout))
  n_chunks = -(-len(layout) // chunk)
  keys = np.full((n_chunks * chunk, n_steps * group), -1, np.int32)
  for row, admitted in zip(keys, layout, strict=False):
    (blocks,) = np.nonzero(admitted)
    row[: len(blocks)] = blocks
  keys = keys.reshape(n_chunks, chunk, -1)
  steps = -(-(keys >= 0).sum(axis=2).max(axis=1) // group)
  return Schedule(block, chunk, group, keys, steps.astype(np.int32))
