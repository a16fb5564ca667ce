"""A plan as text."""

import math

from videogpt_jax.planning.chips import GIB
from videogpt_jax.planning.collectives import KINDS, by_kind
from videogpt_jax.planning.estimate import Estimate
from videogpt_jax.planning.fitting import EXTRAPOLATED

SCOPE = (
  'Estimates of compiled programs at published peaks, not measurements. A step = max(products, HBM '
  'traffic) + exchange; overlap makes it shorter, everything else longer.'
)

WHAT = {'vqvae': 'VQ-VAE training step', 'prior': 'prior training step', 'sample': 'sampler'}

HEADER = (
  f'{"topology":12s} {"mesh":34s} {"batch":>6s} {"memory":>9s} {"step":>10s} {"exchange":>9s} '
  f'{"MFU":>5s} {"clips/s":>9s}'
)


def row(found: Estimate) -> str:
  """Returns one line of a comparison, under `HEADER`."""
  return (
    f'{found.topology.name:12s} {axes_text(found.step.mesh.shape):34s} {found.step.batch_size:6d} '
    f'{found.peak / GIB:5.1f} GiB {found.seconds * 1e3:7.1f} ms {found.communication_share:9.0%} '
    f'{found.utilisation:5.0%} {found.clips_per_second:9.1f}'
  )


def describe(found: Estimate, largest_batch: int | None = None) -> str:
  """Returns the lines on one program.

  Args:
    found: the program.
    largest_batch: of `fitting.largest_batch`, or None if it was not looked for.
  """
  chip, step = found.topology.chip, found.step
  most = ''
  if largest_batch is not None:
    most = f'; the largest batch that does is about {largest_batch}'
    if largest_batch > EXTRAPOLATED * step.batch_size:
      most = f'; more than {EXTRAPOLATED} times the batch does, too'
  entries = [(name, size(part)) for name, part in found.parts.items() if part]
  entries.append(('activations, gradients, gathered', size(found.temporaries)))
  entries.append(('peak memory', f'{size(found.peak)} of {size(chip.hbm)}: fits{most}'))
  entries.append(('operations', unit(found.flops, 'FLOP')))
  if found.kernel_flops:
    by_formula = unit(found.kernel_flops, 'FLOP')
    entries.append(('', f"{by_formula} of these by formula, in attention's kernels"))
  entries.append(('HBM traffic', unit(found.hbm_bytes, 'B')))
  sums = by_kind(found.collectives)
  for kind in (kind for kind in KINDS if kind in sums):
    count, sent = sums[kind]
    entries.append((kind, f'{unit(sent, "B")} sent, {count:.0f} times'))
  terms = {'products': found.compute_seconds, 'HBM': found.hbm_seconds}
  terms['exchange'] = found.ici_seconds
  parts = ', '.join(f'{name} {unit(seconds, "s")}' for name, seconds in terms.items())
  entries.append(('time', f'{unit(found.seconds, "s")}: {parts}'))
  kind = step.unit.split()[0]  # clips or videos
  peak, per_hour = (
    unit(chip.flops, 'FLOP/s'),
    found.clips_per_second / found.topology.n_chips * 3600,
  )
  entries.append(
    ('utilisation', f'{found.utilisation:.0%} of {peak}, {per_hour:,.0f} {kind} a chip-hour')
  )
  title = (
    f'{WHAT[step.name]}, {step.batch_size} {step.unit}, on {found.topology.name} '
    f'({axes_text(step.mesh.shape)}); a chip:'
  )
  return '\n'.join([title, *(f'  {name:32s} {text}' for name, text in entries)])


def size(n_bytes: float) -> str:
  """'1.50 GiB'."""
  power = min(int(math.log2(max(n_bytes, 1)) // 10), 3)
  return f'{n_bytes / 1024**power:.4g} {("B", "KiB", "MiB", "GiB")[power]}'


def unit(value: float, name: str) -> str:
  """'1.5 ms', '459 TFLOP/s': three figures and a prefix."""
  power = math.floor(math.log10(value) / 3) if value > 0 else 0
  power = min(max(power, -3), 6)
  prefix = 'num kMGTPE'[power + 3].strip()
  return f'{value / 1000**power:.3g} {prefix}{name}'


def axes_text(axes: dict[str, int]) -> str:
  """'data 4, fsdp 2': the axes of a mesh that share something out."""
  return ', '.join(f'{name} {size}' for name, size in axes.items() if size > 1) or 'one device'
