"""The order in which blockwise attention visits blocks: the empty ones are never visited."""

import dataclasses

import numpy as np

from videogpt_jax.models.attention.masks import CausalMask
from videogpt_jax.models.placement import platform

ROWS = 512
"""Queries of one step, and about as many keys: enough for fast products, few enough for caches."""

CPU_SPARSE_ROWS = 128
"""On CPU, queries of one step of a sparse layout, each block of which has keys of its own to fetch:
a quarter less work than with `ROWS`, which a TPU's memory would pay for by a third more traffic."""


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
  """Which blocks of keys each block of queries visits, some of either at a time.

  Attributes:
    block: positions in a block.
    chunk: blocks of queries that are computed side by side.
    group: blocks of keys that each of them visits in one step.
    keys: int32 [chunks chunk steps*group], the blocks of keys; -1 is none.
    steps: int32 [chunks], how many steps a chunk takes.
  """

  block: int
  chunk: int
  group: int
  keys: np.ndarray
  steps: np.ndarray

  @property
  def n_visited(self) -> int:
    """Pairs of blocks that are computed, those that only fill up a step included."""
    return int(self.steps.sum()) * self.chunk * self.group


def make_schedule(n_queries: int, n_keys: int, mask: CausalMask | None) -> Schedule:
  """Returns the schedule of `n_queries` positions that attend to `n_keys` under a mask."""
  if mask is not None and mask.layout is not None:
    block, layout = mask.block, np.tril(mask.layout)
  else:
    # Blocks of multiples of 8 that share out the longer side evenly: little is padding.
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
