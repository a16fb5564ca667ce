"""Every attention kernel of a GPU against float64, forward and gradients; then their speed.

Axis letters: B batch; L queries; S keys; N heads; d head size.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from benchmarks.gpu.case import Case, Figures, LeftOut
from benchmarks.gpu.oracle import Results, oracle
from benchmarks.timing import in_turns, repeated
from videogpt_jax.models.attention import (
  CausalMask,
  Dropout,
  attention,
  make_dropout,
  strided_mask,
  triton,
)

BOUNDS = {'float32': (1e-5, 1e-4), 'bfloat16': (1e-2, 2e-2)}
"""Largest errors of the output and of the gradients, by type."""

ABOUT = f"""Each kernel's output and gradients against float64 NumPy on the same (rounded) inputs:
the norm of the difference over the norm of the reference. Bounds, output and gradients: float32
{BOUNDS['float32']}, with products at the highest precision; bfloat16 {BOUNDS['bfloat16']}. Dropout
drops the same weights in both. Times are of the forward pass and the gradients together, bfloat16,
causal; TFLOP/s count half of the scores, and no recomputation: 3.5 times the forward products."""

GRADIENTS = ('d_q', 'd_k', 'd_v')

ORDER = ('triton', 'cudnn', 'blockwise', 'dense')


@dataclasses.dataclass(frozen=True)
class Problem:
  """An attention to compute, and to differentiate: q [B L N d], k [B S N d], v [B S N e].

  Attributes:
    mask: 'all', 'causal' or 'strided'.
    rate: of dropout.
    grid, block: of a strided mask.
    float32: whether to compute it in float32 too, which Triton takes several times as long to
      compile.
  """

  L: int
  S: int
  d: int
  e: int
  mask: str
  rate: float = 0.0
  grid: tuple[int, ...] = ()
  block: int = 32
  float32: bool = False

  @property
  def name(self) -> str:
    dropped = f', dropout {self.rate}' if self.rate else ''
    blocks = f' in blocks of {self.block}' if self.mask == 'strided' else ''
    return f'{self.mask}{blocks}, L={self.L} S={self.S} d={self.d} e={self.e}{dropped}'

  def causal_mask(self) -> CausalMask | None:
    """Returns the mask, None for one that admits all keys."""
    if self.mask == 'strided':
      return strided_mask(self.grid, self.block, 2)
    return CausalMask() if self.mask == 'causal' else None


PROBLEMS = {
  'full': (
    Problem(1000, 1000, 64, 64, 'causal', 0.1, float32=True),
    Problem(1024, 1024, 128, 128, 'causal'),
    Problem(1024, 1024, 144, 144, 'causal'),
    Problem(1024, 1024, 144, 144, 'causal', 0.3),
    Problem(1024, 1024, 64, 64, 'strided', 0.3, (4, 16, 16), float32=True),
    Problem(1024, 1024, 128, 128, 'strided', 0.0, (4, 16, 16), 16),
    Problem(1024, 1024, 144, 144, 'strided', 0.3, (4, 16, 16)),
    Problem(1024, 256, 64, 64, 'all', float32=True),
    Problem(1000, 200, 144, 60, 'all', 0.3),
  ),
  'tiny': (
    Problem(64, 64, 24, 24, 'strided', 0.3, (2, 2, 16), 16, float32=True),
    Problem(48, 40, 16, 12, 'all'),
  ),
}

SPEED = {'full': (4, 4096, 16, 128), 'tiny': (1, 64, 2, 16)}
"""B, L, N and d of the attention that is timed: the 1B prior's."""


def cases(size: str, out: str) -> Iterator[Case]:
  """Yields a case for each problem, type and kernel, and for the speed of each kernel."""
  del out
  yield from _checks('bfloat16', PROBLEMS[size])
  for kernel in ORDER:
    shape = SPEED[size]
    yield Case(f'{kernel}, speed, B L N d = {shape}', functools.partial(_speed, kernel, shape))
  yield from _checks('float32', [problem for problem in PROBLEMS[size] if problem.float32])


def _checks(dtype: str, problems: Iterable[Problem]) -> Iterator[Case]:
  for problem in problems:
    inputs = functools.cache(functools.partial(_inputs, problem, dtype))
    for kernel in ORDER:
      name = f'{kernel}, {dtype}, {problem.name}'
      yield Case(name, functools.partial(_check, kernel, dtype, problem, inputs))


def _inputs(problem: Problem, dtype: str):
  """Returns q, k, v, d_out of a type, the dropout or None, and the reference's results."""
  B, N = 2, 2
  lengths = (problem.L, problem.d), (problem.S, problem.d), (problem.S, problem.e)
  keys = jax.random.split(jax.random.key(problem.L + problem.d), 5)
  shapes = [(B, n, N, d) for n, d in (*lengths, (problem.L, problem.e))]
  arrays = [jax.random.normal(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=False)]
  drop = make_dropout(problem.rate, keys[4], B, N)
  return arrays, drop, oracle(*arrays, problem.causal_mask(), drop)


def _check(
  kernel: str,
  dtype: str,
  problem: Problem,
  inputs: Callable[[], tuple[list[jax.Array], Dropout | None, Results]],
) -> Figures:
  mask, interpreted = problem.causal_mask(), kernel == 'triton' and jax.default_backend() != 'gpu'
  if interpreted:
    attend = functools.partial(triton.triton_attention, mask=mask, interpret=True)
  else:
    attend = functools.partial(attention, mask=mask, backend=kernel)
  arrays, drop, wanted = inputs()
  with jax.default_matmul_precision('highest' if dtype == 'float32' else 'default'):
    found = _with_gradients(functools.partial(attend, dropout=drop))(*arrays)
  errors = {
    name: float(np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b))
    for name, a, b in zip(('out', *GRADIENTS), found, wanted, strict=True)
  }
  output, gradients = BOUNDS[dtype]
  bounds = {'out': output} | dict.fromkeys(GRADIENTS, gradients)
  over = [f'{name} {e:.2g}' for name, e in errors.items() if not e <= bounds[name]]
  fault = {'fault': f'above the bound: {", ".join(over)}'} if over else {}
  how = 'interpreted' if interpreted else 'compiled'
  return errors | {'bounds': f'{output:g}, {gradients:g}', 'kernel': how} | fault


def _with_gradients(attend: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, ...]]:
  """Returns the compiled function q, k, v, d_out -> output, gradients of q, k and v."""

  @jax.jit
  def run(q, k, v, d_out):
    out, pull = jax.vjp(attend, q, k, v)
    return out, *pull(d_out)

  return run


def _speed(kernel: str, shape: tuple[int, int, int, int]) -> Figures:
  if kernel == 'triton' and jax.default_backend() != 'gpu':
    raise LeftOut('the kernel is interpreted here')
  B, L, N, d = shape
  arrays = tuple(jax.random.normal(jax.random.key(0), (4, *shape)).astype('bfloat16'))
  run = _with_gradients(functools.partial(attention, mask=CausalMask(), backend=kernel))
  times = in_turns({kernel: repeated(lambda: run(*arrays))}, rounds=5, round_seconds=0.1)[kernel]
  flops = 3.5 * 2 * B * N * L * L * d
  return times.in_ms() | {'TFLOP/s': flops / times.median / 1e12}
