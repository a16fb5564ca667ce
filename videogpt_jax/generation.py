"""Runs a request: chunk after chunk of videos, clip after clip, by the compiled programs.

Axis letters: n videos, of which m go through at once; T H W frames, height, width; t h w latent
grid; L codes of a clip.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from videogpt_jax import programs
from videogpt_jax.errors import UserError
from videogpt_jax.models.conditioners import Conditions
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import Trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import checks, windows
from videogpt_jax.sampling.forward import Decoded
from videogpt_jax.sampling.request import Callbacks, Generated, Request
from videogpt_jax.sampling.strategies import strategy_for
from videogpt_jax.streaming import Decoder
from videogpt_jax.tokenizer import Tokenizer

QUIET = Callbacks(*(lambda *_: None,) * 2)

CACHE_BYTES = 2 * 2**30
"""Bytes for the KV caches of one chunk on a device that does not report its memory."""

CACHE_SHARE = 0.25
"""Share of a device's memory for the KV caches of one chunk, if the device reports its memory."""


@dataclasses.dataclass(frozen=True)
class Generator:
  """A model and the devices that share the videos.

  Attributes:
    tokenizer: decodes the codes.
    prior: draws them.
    config: the prior's.
    mesh: the devices, or None for one.
  """

  tokenizer: Tokenizer
  prior: Trained[Prior]
  config: PriorConfig
  mesh: Mesh | None = None

  @property
  def shares(self) -> int:
    """Among how many groups of devices videos are divided."""
    return 1 if self.mesh is None else self.mesh.shape['data'] * self.mesh.shape['fsdp']

  def generate(self, request: Request, callbacks: Callbacks | None = None) -> Generated:
    """Draws and decodes all videos.

    Raises:
      UserError: the model cannot make them.
    """
    made = [chunk.run() for chunk in self._chunks(request, callbacks)]
    return Generated(*(np.concatenate(parts)[: request.n] for parts in zip(*made, strict=True)))

  def codes(self, request: Request) -> np.ndarray:
    """Draws the codes of a single clip for each video, int32 [n t h w]."""
    drawn = [chunk.codes() for chunk in self._chunks(request, None)]
    return np.concatenate(drawn)[: request.n]

  def compile(self, request: Request, callbacks: Callbacks | None = None):
    """Compiles all that `generate` runs for this request, so that it starts at once."""
    self._chunks(request, callbacks)[0].compile()

  def _chunks(self, request: Request, callbacks: Callbacks | None) -> list['_Chunk']:
    """Checks the request and cuts its videos into chunks of equal size that fit in memory."""
    spec = self.tokenizer.spec
    checks.check_pair(self.prior.module().codes, spec)
    checks.check_request(request, spec, self.config)
    if self.config.history:
      self.tokenizer.config.check_streams()
    plan = windows.plan(
      spec,
      self.config,
      request.settings.num_frames or spec.sequence_length,
      request.continue_from is not None,
    )
    if request.continue_from is not None:
      checks.earlier_frames(request.continue_from, plan.shared)
    most = self._videos_at_once(request)
    m = -(-request.n // -(-request.n // most))  # evenly
    m = -(-m // self.shares) * self.shares
    return [_Chunk(self, request, plan, first, m, callbacks) for first in range(0, request.n, m)]

  def _videos_at_once(self, request: Request) -> int:
    """Returns the number of videos whose KV caches fit in memory."""
    config, L = self.config, math.prod(self.tokenizer.latent_shape)
    rows = 1 if request.settings.controls.guidance is None else 2
    width = jnp.dtype(config.dtype).itemsize
    cache = 2 * rows * config.n_layers * L * config.hidden_dim * width
    device = jax.local_devices()[0] if self.mesh is None else self.mesh.local_devices[0]
    memory = (device.memory_stats() or {}).get('bytes_limit') if device.platform != 'cpu' else None
    available = memory * CACHE_SHARE if memory else CACHE_BYTES
    return max(int(available // cache), 1) * self.shares


class _Chunk:
  """A chunk of a request's videos.

  Arrays are filled up by repetition to m videos, so that every chunk runs the same programs.
  """

  def __init__(self, generator, request, plan, first, m, callbacks):
    self.generator, self.request, self.windows = generator, request, plan
    self.tokenizer, self.mesh = generator.tokenizer, generator.mesh
    self.spec, self.m = generator.tokenizer.spec, m
    self.callbacks = callbacks or QUIET
    self.draws_before = first // m
    self.n_chunks = -(-request.n // m)
    self.index = np.minimum(np.arange(first, first + m), request.n - 1)
    rows = lambda x: None if x is None else np.asarray(x)[self.index]
    self.conditions = {name: rows(x) for name, x in request.conditions.items()}
    self.prefix = rows(request.prefix)
    self.earlier = rows(request.continue_from)
    seeds = jax.vmap(jax.random.fold_in, (None, 0))
    self.keys = seeds(jax.random.key(request.seed), jnp.asarray(first + np.arange(m)))

  def run(self) -> Generated:
    """Draws and decodes clip after clip."""
    shared = self.windows.shared
    video = None if self.earlier is None else self.earlier[:, -shared:] + np.float32(0.5)
    given, frames = self.beginning()
    decoder = self._decoder()
    codes, log_likelihood, passes = [], np.zeros(self.m), np.zeros(self.m, np.int64)
    for i in range(len(self.windows.starts)):
      drawn = self._draw_best(i, given, frames)
      video = self._extended(video, drawn.codes, decoder)
      codes.append(drawn.codes)
      log_likelihood += drawn.log_likelihood.astype(np.float64)
      passes += drawn.passes
      if i + 1 < len(self.windows.starts):
        given, frames = self._next(video[:, -shared:] - np.float32(0.5), drawn.codes)
    n_frames = self.request.settings.num_frames or self.spec.sequence_length
    return Generated(video[:, :n_frames], np.stack(codes, axis=1), log_likelihood, passes)

  def _extended(
    self, video: np.ndarray | None, codes: np.ndarray, decoder: Decoder | None
  ) -> np.ndarray:
    """Returns the video with one more clip, of codes int32 [m t h w]."""
    if decoder is None:
      clip = np.asarray(self._videos(codes))
      return clip if video is None else windows.join(video, clip, self.windows.shared)
    if decoder.begun:
      return np.concatenate([video, decoder(codes[:, self.windows.shared_latents :])], axis=1)
    clip = decoder(codes)
    return clip if video is None else np.concatenate([video, clip[:, video.shape[1] :]], axis=1)

  def _decoder(self) -> Decoder | None:
    """Returns what decodes a video that is one stream of codes."""
    if not self.windows.streams:
      return None
    return Decoder(self.tokenizer, self.generator.shares, self.mesh)

  def codes(self) -> np.ndarray:
    """Draws a single clip, not decoded."""
    if len(self.windows.starts) > 1:
      raise UserError(
        f'num_frames ({self.request.settings.num_frames}) is more than one clip has '
        f"({self.windows.clip}); generate() returns the codes of all of a video's clips"
      )
    return self._draw_best(0, *self.beginning()).codes

  def compile(self):
    """Compiles all that `run` needs."""
    given, frames = self.beginning()
    prefixes, codes = [given], np.zeros((self.m, *self.spec.latent_shape), np.int32)
    if len(self.windows.starts) > 1:
      frames_shape = self.m, self.windows.shared, *self.spec.clip_shape[1:]
      later, _ = self._next(np.zeros(frames_shape), codes)
      if np.shape(later) != np.shape(given):
        prefixes.append(later)
    for i, prefix in enumerate(prefixes):
      self.callbacks.compiling('the sampler' + (' of later clips' if i else ''))
      self._draw(i, 0, prefix, frames, programs.draw.lower).compile()
    self.callbacks.compiling('the decoder')
    if self.windows.streams:
      decoder, few = self._decoder(), codes[: programs.at_once(self.m, self.generator.shares)]
      decoder(few)
      if len(self.windows.starts) > 1:
        decoder(few[:, self.windows.shared_latents :])
    else:
      self._videos(codes, programs.videos.lower).compile()

  def beginning(self) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the first codes of the first clip, int32 [m p], and its conditioning frames."""
    frames = self.conditions.get('frames')
    if self.prefix is not None:
      return np.asarray(self.prefix, np.int32).reshape(self.m, -1), frames
    if self.earlier is None:
      return None, frames
    return self._next(self.earlier[:, -self.windows.shared :])

  def _draw_best(self, i: int, given, frames) -> Decoded:
    """Draws the i-th clip, the likeliest of `best_of` for each video."""
    best, n_draws = None, len(self.windows.starts) * self.request.settings.best_of
    done = self.draws_before * n_draws + i * self.request.settings.best_of
    for j in range(self.request.settings.best_of):
      self.callbacks.drawing(done + j, n_draws * self.n_chunks)
      drawn = jax.tree.map(np.asarray, self._draw(i, j, given, frames))
      best = drawn if best is None else _likelier(best, drawn)
    return best

  def _draw(self, i: int, j: int, given, frames, run=programs.draw):
    """Runs (or lowers) the program that draws the i-th clip for the j-th time."""
    settings = self.request.settings
    keys = self.keys
    if i or j:  # positions use the numbers below L
      fold = jax.vmap(jax.random.fold_in, (0, None))
      keys = fold(fold(keys, math.prod(self.spec.latent_shape) + i), j)
    return run(
      self.generator.prior,
      self.tokenizer,
      np.asarray(jax.random.key_data(keys)),
      settings.controls,
      self._conditions_of(i, frames),
      given,
      strategy=strategy_for(settings.strategy, self.generator.config),
      passes=settings.passes,
      mesh=self.mesh,
    )

  def _videos(self, codes, run=programs.videos):
    return run(self.tokenizer, codes, shares=self.generator.shares, mesh=self.mesh)

  def _conditions_of(self, i: int, frames) -> Conditions:
    """Returns the conditions of the i-th clip. Actions that end early repeat their last row."""
    conditions = dict(self.conditions)
    if 'actions' in conditions:
      actions, clip = conditions['actions'], self.windows.clip
      at = np.minimum(self.windows.starts[i] + np.arange(clip), actions.shape[1] - 1)
      conditions['actions'] = actions[:, at]
    if frames is not None:
      conditions['frames'] = frames
    return conditions

  def _next(
    self, shared: np.ndarray, codes: np.ndarray | None = None
  ) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the first codes and the conditioning frames of a clip that goes on.

    Args:
      shared: float32 [m T H W 3] in [-0.5, 0.5], the frames that it begins with.
      codes: int32 [m t h w], of the clip before, which ends with them, if there is one.
    Returns:
      codes int32 [m p], and frames float32 [m n_cond_frames H W 3], or None for either.
    """
    shared, given = np.asarray(shared, np.float32), None
    if n := self.windows.shared_latents:
      known = codes is not None and self.windows.streams
      given = codes[:, -n:] if known else self._encoded(shared)
      given = np.asarray(given).reshape(self.m, -1)
    n_cond_frames = self.generator.config.n_cond_frames
    return given, shared[:, :n_cond_frames] if n_cond_frames else None

  def _encoded(self, shared: np.ndarray) -> np.ndarray:
    """Returns the codes of frames [m T H W 3] that a clip begins with, int32 [m t h w]."""
    # As a whole clip that then stands still: an encoder may look ahead, and without frames there
    # the last codes would be those of a clip's end.
    still = np.repeat(shared[:, -1:], self.windows.clip - shared.shape[1], axis=1)
    codes = programs.encode(self.tokenizer, np.concatenate([shared, still], axis=1))
    return np.asarray(codes)[:, : self.windows.shared_latents]


def _likelier(a: Decoded, b: Decoded) -> Decoded:
  """Returns for each clip the likelier of two draws, and the passes of both."""
  wins = b.log_likelihood > a.log_likelihood
  codes = np.where(wins.reshape(-1, *(1,) * (a.codes.ndim - 1)), b.codes, a.codes)
  return Decoded(codes, np.maximum(a.log_likelihood, b.log_likelihood), None, a.passes + b.passes)
