"""Training steps of priors of 100 million and 1 billion parameters: time, utilisation, memory."""

import dataclasses
import functools
import math
from collections.abc import Iterator

import jax

from benchmarks import cards
from benchmarks.gpu.case import Case, Figures
from benchmarks.steps import prior_flops, prior_step
from benchmarks.timing import in_turns
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.training.step import TrainState

ABOUT = """A whole training step on random codes, optimiser included: bfloat16 products, float32
parameters, full attention without dropout. MFU counts two operations for each multiplication of the
matrix products, forward and twice in the backward pass; half of the scores of causal attention; no
recomputation. The peak is the data sheet's for dense bfloat16 (`benchmarks/cards.py`), and is not
given for other cards. Planned memory is the compiler's; the peak is the allocator's since the part
began, and is given where this row raised it."""

GIB = 2**30

CODES = CodeSpec((4, 32, 32), n_codes=2048, embedding_dim=256, sequence_length=16, resolution=128)

MODERN = PriorConfig(
  dropout=0.0,
  attn_dropout=0.0,
  positions='rotary',
  qk_norm=True,
  norm='rms',
  mlp='swiglu',
  dtype='bfloat16',
)

PRIORS = {
  '1B': dataclasses.replace(MODERN, hidden_dim=2048, n_heads=16, n_layers=20, mlp_dim=5632),
  '100M': dataclasses.replace(MODERN, hidden_dim=1024, n_heads=8, n_layers=8, mlp_dim=2816),
  'tiny': dataclasses.replace(MODERN, hidden_dim=32, n_heads=2, n_layers=1, mlp_dim=48),
}
"""The first two are those of configs/scale/."""

SPECS = {
  '1B': CODES,
  '100M': CODES,
  'tiny': CodeSpec((2, 4, 8), n_codes=16, embedding_dim=8, sequence_length=4, resolution=16),
}

ROWS = {
  'full': (
    ('1B', 'cudnn', 'dots', 4),
    ('1B', 'cudnn', 'full', 8),
    ('1B', 'triton', 'dots', 4),
    ('1B', 'cudnn', 'dots', 8),
    ('1B', 'cudnn', 'none', 2),
    ('100M', 'cudnn', 'none', 16),
    ('100M', 'triton', 'none', 16),
    ('100M', 'cudnn', 'dots', 32),
    ('100M', 'blockwise', 'dots', 16),
  ),
  'tiny': (
    ('tiny', 'blockwise', 'dots', 2),
    ('tiny', 'cudnn', 'none', 1),
    ('tiny', 'triton', 'full', 1),
  ),
}
"""Prior, attention kernel, rematerialisation and batch size of each row, the weightiest first."""


def cases(size: str, out: str) -> Iterator[Case]:
  """Yields a case for each row."""
  del out
  states: dict[str, TrainState] = {}
  for row in ROWS[size]:
    prior, kernel, remat, batch = row
    name = f'{prior}, {kernel}, remat {remat}, batch {batch}'
    yield Case(name, functools.partial(_measure, states, *row))


def _measure(
  states: dict[str, TrainState], prior: str, kernel: str, remat: str, batch: int
) -> Figures:
  """Times a row. `states` keeps the state of one prior for the next row, which saves its start."""
  config = dataclasses.replace(PRIORS[prior], attn_backend=kernel, remat=remat)
  spec, before = SPECS[prior], cards.peak_bytes()
  kept = states.pop(prior, None)
  states.clear()
  step = prior_step(config, spec, batch, kept)
  times = in_turns({prior: step}, rounds=5, round_seconds=0.5)[prior]
  states[prior] = step.state
  card, flops, peak = cards.here(), prior_flops(config, spec, batch), cards.peak_bytes()
  return times.in_ms() | {
    'MFU %': card and 100 * flops / times.median / card.flops,
    'TFLOP/s': flops / times.median / 1e12,
    'codes/s': batch * math.prod(spec.latent_shape) / times.median,
    'planned GiB': step.planned_bytes and step.planned_bytes / GIB,
    'peak GiB': peak / GIB if peak and peak > before else None,
    'parameters M': sum(x.size for x in jax.tree.leaves(step.state.params)) / 1e6,
    'compile s': step.compile_seconds,
  }
