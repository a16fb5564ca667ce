"""What a compiled program computes and moves, each instruction as often as it runs."""

import collections
import functools
import math
import re
from collections.abc import Iterable

import numpy as np

from videogpt_jax.planning.hlo import Executed, Instruction

FREE = re.compile(
  'parameter|constant|tuple|get-tuple-element|bitcast|while|conditional|call|after-all|iota|'
  'partition-id|replica-id|opt-barrier|async-start|async-update|.*-done'
)
"""Instructions that move nothing themselves."""


def flops(program: Iterable[Executed]) -> float:
  """Returns the operations of all products and convolutions.

  Elementwise operations are left out: a TPU's matrix units, whose peak is published, do not run
  them.
  """
  products = ((i, runs) for i, runs, _ in program if i.opcode in ('dot', 'convolution'))
  return sum(2.0 * runs * _multiplications(i) for i, runs in products)


def kernel_flops(program: Iterable[Executed], admitted: float) -> float:
  """Returns the operations of the attention kernels, which do not state them.

  The forward kernel multiplies scores and values. Both backward kernels compute the scores and
  their gradients again, then one product for each result (Dao et al. 2022, algorithm 4).

  Args:
    program: what runs.
    admitted: share of the scores of self-attention that its mask admits.
  """
  total = 0.0
  for kernel, runs, _ in program:
    if kernel.opcode == 'custom-call' and '"tpu_custom_call"' in kernel.text:
      given = [a.shape for a in kernel.inputs if 'f' in a.dtype]
      if len(given) not in (3, 6):  # q, k, v; and the log-sum-exp, dO and delta
        raise ValueError(f'the kernel {kernel.name} is not known: count its operations here')
      (*rows, L, d), (*_, S, e) = given[0], given[2]
      made = (a.shape for a in kernel.results if a.shape[:-1] in ((*rows, L), (*rows, S)))
      sizes = d + e + (sum(shape[-1] for shape in made) if len(given) == 6 else 0)
      total += runs * 2.0 * math.prod(rows) * L * S * sizes * (admitted if L == S else 1)
  return total


def hbm_bytes(program: Iterable[Executed]) -> float:
  """Returns the bytes read from and written to HBM; on-chip memory is free."""
  moving = ((i, runs) for i, runs, fused in program if not fused and not FREE.fullmatch(i.opcode))
  return sum(runs * _moved(i) for i, runs in moving)


def _multiplications(product: Instruction) -> float:
  """Multiplications of a product, or of a convolution those that meet an element of its input.

  A TPU program writes every product as a convolution, batch axes as dilated windows.
  """
  text, out, (left, right) = product.text, product.results[0], product.inputs[:2]
  if product.opcode == 'dot':
    axes = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', text)[1]
    contracted = (left.shape[int(axis)] for axis in axes.split(',') if axis)
    return math.prod(out.shape) * math.prod(contracted)
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', text).groups()
  shapes = zip(labels, (left.shape, right.shape, out.shape), strict=True)
  left, right, out = (dict(zip(*pair, strict=True)) for pair in shapes)
  window = re.search(r'window=\{([^}]*)\}', text)
  window = dict(re.findall(r'(\w+)=([\dx_\-]+)', window[1])) if window else {}
  meet = out['b'] * out['f'] * right['i']
  for i, axis in enumerate(sorted(label for label in left if label.isdigit())):
    low, stride, dilation, holes = (
      int(window[name].split('x')[i].split('_')[0]) if name in window else default
      for name, default in (('pad', 0), ('stride', 1), ('lhs_dilate', 1), ('rhs_dilate', 1))
    )
    meet *= _meetings(left[axis], right[axis], out[axis], low, stride, dilation, holes)
  return meet


@functools.cache
def _meetings(
  size: int, kernel: int, out: int, low: int, stride: int, dilation: int, holes: int
) -> int:
  """Returns how many pairs of an output and a kernel position meet an input, along one axis."""
  at = np.arange(out)[:, None] * stride + np.arange(kernel) * holes - low
  return int(((at >= 0) & (at < (size - 1) * dilation + 1) & (at % dilation == 0)).sum())


def _moved(whole: Instruction) -> float:
  """Bytes that an instruction reads and writes. What it slices is not read whole, and what it
  updates in place is not written whole; the same holds inside a fusion."""
  results = whole.results
  if whole.opcode in ('copy-start', 'slice-start', 'dynamic-slice-start'):
    ends = results[:2]  # target and source, in either order
    return min(a.nbytes for a in ends) * sum(a.in_hbm for a in ends)
  if whole.opcode.endswith('-start'):
    results = results[-1:]
  inside, names = [whole], whole.operands
  if whole.opcode == 'fusion':
    inside = list(whole.program[whole.attribute('calls')].values())
    parameters = [i for i in inside if i.opcode == 'parameter']
    names = [i.name for i in sorted(parameters, key=lambda i: int(re.search(r'\d+', i.text)[0]))]
  parts, written = collections.defaultdict(list), {}
  for user in inside:
    for i, name in enumerate(user.operands):
      sliced = i == 0 and user.opcode in ('dynamic-slice', 'slice', 'gather')
      updated = i == 0 and user.opcode == 'dynamic-update-slice'
      parts[name].append(user.results[0].nbytes if sliced else 0 if updated else math.inf)
    if user.opcode == 'dynamic-update-slice':
      written[user.results[0].shape] = user.inputs[1].nbytes
  total = sum(written.get(a.shape, a.nbytes) for a in results if a.in_hbm)
  for operand, name in zip(whole.operands, names, strict=False):
    held = sum(a.nbytes for a in whole.siblings[operand].results if a.in_hbm)
    total += min(held, sum(parts.get(name, [math.inf])))
  return total
