"""The sampler at several batch sizes, against the memory's floor and the eager PyTorch sampler."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator

from flax import nnx

from benchmarks import cards
from benchmarks import sampling as shared
from benchmarks.gpu.case import Case, Figures, torch_or_leave_out
from benchmarks.steps import planned_bytes
from benchmarks.timing import Times, in_turns, repeated, seconds
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import code_spec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.sampling.settings import SamplingSettings

ABOUT = """Whole clips of the published BAIR prior with weights at random, bfloat16; milliseconds
for a code of every clip in the batch. The floor is the time to read every weight and half of the
cache once, at the bandwidth of the data sheet (`benchmarks/cards.py`), or for other cards at the
one measured first. The eager sampler (`benchmarks/eager_torch.py`) computes in float32; some of its
steps are timed before our clips and as many after them, since each costs the same."""

GIB = 2**30
ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Size:
  """The prior, its tokenizer, the clips and the batches."""

  prior: PriorConfig
  vqvae: VQVAEConfig
  frames: int
  resolution: int
  batches: tuple[int, ...]


SIZES = {
  'full': Size(PriorConfig(dtype='bfloat16'), shared.VQVAE_CONFIG, 16, 64, (8, 64, 1)),
  'tiny': Size(
    PriorConfig(24, n_heads=2, n_layers=1, dtype='bfloat16'),
    VQVAEConfig(8, 16, n_hiddens=8, n_res_layers=1, downsample=(2, 2, 2)),
    *(4, 8),
    (2,),
  ),
}


SETTINGS = {name: SamplingSettings(strategy=name) for name in ('sequential', 'speculative')}
"""The settings that are compared: every decoding strategy of such a prior."""


def cases(size: str, out: str) -> Iterator[Case]:
  """Yields the bandwidth, then for each batch and settings ours, and ours against the baseline."""
  del out
  sizes, card = SIZES[size], cards.here()
  spec = code_spec(sizes.vqvae, sizes.frames, sizes.resolution)
  prior = functools.cache(lambda: Prior(sizes.prior, spec, rngs=nnx.Rngs(0)))
  read = functools.cache(shared.stream_bandwidth)
  yield Case('memory, as read by a sum', lambda: {'GB/s': read() / 1e9})
  bandwidth = (lambda: card.bandwidth) if card else read
  for batch in sizes.batches:
    for name, settings in SETTINGS.items():
      make = functools.partial(_program, prior, sizes.vqvae, batch, settings)
      make = functools.cache(make)
      name = f'{name}, batch {batch}'
      yield Case(name, functools.partial(_ours, make, prior, batch, bandwidth))
      yield Case(f'eager PyTorch, {name}', functools.partial(_against, make, prior, batch))


def _program(
  prior: Callable[[], Prior], vqvae: VQVAEConfig, batch: int, settings: SamplingSettings
) -> tuple[Callable[[int], None], float, int | None]:
  """Returns a function that draws n batches, how long compiling took, and planned bytes."""
  network, begun = prior(), time.perf_counter()
  compiled, arguments = shared.compile_draw(network, vqvae, batch, settings)
  took = time.perf_counter() - begun
  return repeated(lambda: compiled(*arguments)), took, planned_bytes(compiled)


def _ours(
  make: Callable[[], tuple],
  prior: Callable[[], Prior],
  batch: int,
  bandwidth: Callable[[], float],
) -> Figures:
  draw, compile_seconds, planned = make()
  L = math.prod(prior().codes.latent_shape)
  clip = in_turns({'': draw}, ROUNDS, round_seconds=0)['']
  code = Times(clip.median / L, clip.fastest / L, clip.slowest / L)
  weights, cache = shared.weights_and_cache(prior(), batch)
  floor = (weights + cache / 2) / bandwidth()
  return code.in_ms() | {
    'floor ms': 1e3 * floor,
    '% of floor': 100 * floor / code.median,
    'clips/s': batch / clip.median,
    'planned GiB': planned and planned / GIB,
    'compile s': compile_seconds,
  }


def _against(make: Callable[[], tuple], prior: Callable[[], Prior], batch: int) -> Figures:
  torch_or_leave_out()
  draw, *_ = make()
  config, codes = prior().config, prior().codes
  sizes = {name: getattr(config, name) for name in ('hidden_dim', 'n_heads', 'n_layers')}
  eager = shared.eager_seconds(codes, **sizes)
  before = eager(batch)
  draw(1)
  ours = seconds(lambda: draw(ROUNDS)) / ROUNDS / math.prod(codes.latent_shape)
  after = eager(batch)
  theirs = Times((before + after) / 2, min(before, after), max(before, after))
  return theirs.in_ms() | {'ours ms': 1e3 * ours, 'times as fast': theirs.median / ours}
