"""The VQ-VAE's training step against the published one in PyTorch, eager and compiled."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax

from benchmarks import cards
from benchmarks.gpu.case import Case, Figures, torch_or_leave_out
from benchmarks.steps import TrainStep
from benchmarks.timing import in_turns
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.stages.train_vqvae import vqvae_stage

ABOUT = """The published BAIR VQ-VAE, a whole training step, optimiser and codebook included, on
random clips of 16x64x64. PyTorch runs the published network (`benchmarks/eager_vqvae.py`) in turns
with ours; `float32` multiplies in TF32 in both, `bfloat16` is autocast there. Ratios above 1: ours
is faster. `torch.compile` has its default settings."""

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Size:
  """The VQ-VAE, the clips of a batch, and the types to compute in."""

  config: VQVAEConfig
  frames: int
  resolution: int
  batch: int
  dtypes: tuple[str, ...]

  @property
  def clips(self) -> tuple[int, ...]:
    """Shape of the batch."""
    return self.batch, self.frames, self.resolution, self.resolution, 3


TINY = VQVAEConfig(8, 16, n_hiddens=8, n_res_layers=1, downsample=(2, 2, 2))

SIZES = {
  'full': Size(VQVAEConfig(downsample=(4, 2, 2)), 16, 64, 8, ('bfloat16', 'float32')),
  'tiny': Size(TINY, 4, 8, 2, ('bfloat16',)),
}


def cases(size: str, out: str) -> Iterator[Case]:
  """Yields a case for ours and for each baseline, by type; compiling PyTorch's comes last."""
  del out
  sizes, ours = SIZES[size], {}
  for dtype in sizes.dtypes:
    ours[dtype] = functools.cache(functools.partial(our_step, sizes, dtype))
    yield Case(f'ours, {dtype}, batch {sizes.batch}', functools.partial(_alone, ours[dtype]))
    eager = functools.partial(_against, ours[dtype], sizes, dtype, compiled=False)
    yield Case(f'eager PyTorch, {dtype}, batch {sizes.batch}', eager)
  for dtype in sizes.dtypes:
    compiled = functools.partial(_against, ours[dtype], sizes, dtype, compiled=True)
    yield Case(f'torch.compile, {dtype}, batch {sizes.batch}', compiled)


def our_step(size: Size, dtype: str) -> TrainStep:
  """Returns our training step on random clips."""
  stage = vqvae_stage(dataclasses.replace(size.config, dtype=dtype))
  video = jax.random.uniform(jax.random.key(1), size.clips, minval=-0.5, maxval=0.5)
  return TrainStep(stage, {'video': video})


def _alone(make: Callable[[], TrainStep]) -> Figures:
  step = make()
  times = in_turns({'ours': step}, rounds=5, round_seconds=0.3)['ours']
  peak = cards.peak_bytes()
  return times.in_ms() | {
    'planned GiB': step.planned_bytes and step.planned_bytes / GIB,
    'peak GiB': peak and peak / GIB,
    'compile s': step.compile_seconds,
  }


def _against(make: Callable[[], TrainStep], size: Size, dtype: str, compiled: bool) -> Figures:
  torch, device = torch_or_leave_out()
  from benchmarks.eager_vqvae import EagerVQVAE, train_step

  torch.set_float32_matmul_precision('high')
  torch.manual_seed(0)
  if device.type == 'cuda':
    torch.cuda.reset_peak_memory_stats()
  model = EagerVQVAE(size.config).to(device).train()
  video = torch.rand(size.batch, 3, *size.clips[1:4], device=device) - 0.5
  step = train_step(model, video, dtype, compiled)

  def theirs(n: int):
    for _ in range(n):
      step()
    if device.type == 'cuda':
      torch.cuda.synchronize()

  times = in_turns({'ours': make(), 'theirs': theirs}, rounds=5, round_seconds=0.3)
  return times['theirs'].in_ms() | {
    'ours ms': 1e3 * times['ours'].median,
    'times as fast': times['theirs'].median / times['ours'].median,
    'peak GiB': torch.cuda.max_memory_allocated() / GIB if device.type == 'cuda' else None,
  }
