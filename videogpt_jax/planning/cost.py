"""What a compiled program computes and moves, by instruction, each as often as it runs."""

import functools
import math
import re

import numpy as np

from videogpt_jax.planning.hlo import Array, Instruction, Program

FREE = re.compile(
  'parameter|constant|tuple|get-tuple-element|bitcast|while|conditional|call|after-all|iota|'
  'partition-id|replica-id|opt-barrier|async-start|async-update|.*-done'
)
"""Instructions that move nothing themselves."""


def flops(program: Program) -> float:
  """Floating point operations of all products and convolutions that the program runs.

  Elementwise operations are left out: a TPU's matrix units, which the peak is of, do not run them.
  """
  return sum(
    runs * _flops(program.computations[computation], instruction)
    for computation, instruction, runs in program.executed()
  )


def kernels_without_cost(program: Program) -> int:
  """How many hand-written kernels the program runs that do not say what they compute."""
  return sum(
    runs
    for _, instruction, runs in program.executed()
    if _is_kernel(instruction) and not _kernel_flops(instruction)
  )


def hbm_bytes(program: Program) -> float:
  """Bytes that instructions read from and write to HBM; what stays in on-chip memory is free."""
  total = 0.0
  for computation, instruction, runs in program.executed():
    if computation not in program.fused and not FREE.fullmatch(instruction.opcode):
      total += runs * _moved(program, computation, instruction)
  return total


def _flops(instructions: dict[str, Instruction], instruction: Instruction) -> float:
  if _is_kernel(instruction):
    return _kernel_flops(instruction)
  if instruction.opcode not in ('dot', 'convolution'):
    return 0.0
  left, right = (instructions[name].results[0].shape for name in instruction.operands[:2])
  out = instruction.results[0]
  if instruction.opcode == 'dot':
    axes = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', instruction.text).group(1)
    return 2.0 * out.size * math.prod(left[int(axis)] for axis in axes.split(',') if axis)
  return _convolution_flops(instruction.text, left, right, out.shape)


def _convolution_flops(text: str, left: tuple, right: tuple, out: tuple) -> float:
  """Products of a convolution that meet an element of its input, as XLA counts them.

  A TPU program writes every product as a convolution, batch axes as windows full of holes.
  """
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', text).groups()
  left, right, out = (
    dict(zip(axes, s, strict=True)) for axes, s in zip(labels, (left, right, out), strict=True)
  )
  spatial = sorted(label for label in left if label.isdigit())
  window = dict(
    re.findall(r'(\w+)=([\dx_\-]+)', (re.search(r'window=\{([^}]*)\}', text) or [''] * 2)[1])
  )

  def sizes(name: str, default: str) -> list[str]:
    return window.get(name, 'x'.join([default] * len(spatial))).split('x')

  meet = 1
  for i, label in enumerate(spatial):
    low = int(sizes('pad', '0_0')[i].split('_')[0])
    steps = [int(sizes(name, '1')[i]) for name in ('stride', 'lhs_dilate', 'rhs_dilate')]
    meet *= _meetings(left[label], right[label], out[label], low, *steps)
  groups = {n: int(g) for n, g in re.findall(r'(feature|batch)_group_count=(\d+)', text)}
  features = left['f'] // groups.get('feature', 1)
  return 2.0 * (left['b'] // groups.get('batch', 1)) * features * out['f'] * meet


@functools.cache
def _meetings(
  size: int, kernel: int, out: int, low: int, stride: int, left: int, right: int
) -> int:
  """How many pairs of an output and a kernel position meet an input, along one axis."""
  at = np.arange(out)[:, None] * stride + np.arange(kernel) * right - low
  return int(((at >= 0) & (at < (size - 1) * left + 1) & (at % left == 0)).sum())


def _is_kernel(instruction: Instruction) -> bool:
  return instruction.opcode == 'custom-call' and 'tpu_custom_call' in instruction.text


def _kernel_flops(instruction: Instruction) -> float:
  """What the kernel's author said (jax.experimental.pallas.CostEstimate), or 0."""
  said = re.search(r'"?cost_estimate"?\W+"?flops"?\W+(\d+)', instruction.text)
  return float(said.group(1)) if said else 0.0


def _moved(program: Program, computation: str, instruction: Instruction) -> float:
  instructions = program.computations[computation]
  given = [instructions[name] for name in instruction.operands if name in instructions]
  results, opcode = instruction.results, instruction.opcode
  if opcode == 'copy-start':  # results are target, source, context
    smaller = min((a for a in results if a.size > 1), key=lambda a: a.nbytes, default=results[0])
    source = [array for operand in given for array in operand.results]
    return smaller.nbytes * (results[0].in_hbm + source[0].in_hbm)
  if opcode.endswith('slice-start'):  # results are source, target, context
    return results[1].nbytes * (results[0].in_hbm + results[1].in_hbm)
  if opcode.endswith('-start'):
    results = results[-1:]
  if opcode == 'dynamic-update-slice':  # in place
    return 2 * _in_hbm(given[1].results)
  if opcode in ('slice', 'dynamic-slice', 'gather'):
    return _in_hbm(results) + sum(min(_in_hbm(g.results), results[0].nbytes) for g in given[:1])
  if opcode == 'fusion':
    return _fusion_bytes(program.computations[instruction.attribute('calls')], given, results)
  return _in_hbm(results) + sum(_in_hbm(operand.results) for operand in given)


def _fusion_bytes(
  inside: dict[str, Instruction], given: list[Instruction], results: tuple[Array, ...]
) -> float:
  """A fusion reads of an operand only what it slices, and writes only what it updates."""
  users: dict[str, list[Instruction]] = {}
  for instruction in inside.values():
    for name in instruction.operands:
      users.setdefault(name, []).append(instruction)
  parameters = sorted(
    (i for i in inside.values() if i.opcode == 'parameter'),
    key=lambda i: int(re.match(r'\((\d+)\)', i.text).group(1)),
  )
  total = 0.0
  for operand, parameter in zip(given, parameters, strict=False):
    uses = users.get(parameter.name, [])
    whole = _in_hbm(operand.results)
    if uses and all(_reads_part(use, parameter.name) for use in uses):
      whole = min(whole, sum(_part(use, inside) for use in uses))
    total += whole
  updates = [i for i in inside.values() if i.opcode == 'dynamic-update-slice']
  shapes = {i.results[0].shape: inside[i.operands[1]].results[0].nbytes for i in updates}
  return total + sum(shapes.get(array.shape, array.nbytes) for array in results if array.in_hbm)


def _reads_part(use: Instruction, name: str) -> bool:
  in_place = use.opcode == 'dynamic-update-slice' and use.operands[0] == name
  return in_place or (
    use.opcode in ('dynamic-slice', 'slice', 'gather') and use.operands[0] == name
  )


def _part(use: Instruction, inside: dict[str, Instruction]) -> int:
  if use.opcode == 'dynamic-update-slice':  # overwritten without being read
    return 0
  return use.results[0].nbytes


def _in_hbm(arrays: tuple[Array, ...]) -> int:
  return sum(array.nbytes for array in arrays if array.in_hbm)
