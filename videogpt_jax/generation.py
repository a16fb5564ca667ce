"""How a request becomes videos: clip after clip, each drawn by one compiled program.

Axis letters: n videos; T H W frames, height, width; t h w latent grid; L codes of a clip.
"""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.sampling import checks, windows
from videogpt_jax.sampling.controls import make_controls
from videogpt_jax.sampling.loop import Decoded
from videogpt_jax.sampling.request import Generated, Report, Request

if TYPE_CHECKING:
  from videogpt_jax.api import VideoGPT

QUIET = Report(*(lambda *_: None,) * 3)


class Generation:
  """A request to a model, checked; nothing is drawn before `run` or `codes`.

  Arrays of a batch are filled up by repetition to `size`, a multiple of what the devices share out.
  """

  def __init__(self, model: 'VideoGPT', request: Request, report: Report | None = None):
    tokenizer, config = model.vqvae, model.config
    checks.check_request(request, tokenizer.spec, config)
    self.model, self.request = model, request
    self.report, self.reports = report or QUIET, report is not None
    self.num_frames = request.num_frames
    if self.num_frames is None:
      self.num_frames = tokenizer.sequence_length
    self.windows = windows.plan(
      tokenizer.spec, config.n_cond_frames, self.num_frames, request.goes_on_from is not None
    )
    self.size = -(-request.n // model.shares) * model.shares
    self.controls = make_controls(
      tokenizer.config.n_codes,
      request.temperature,
      request.top_k,
      request.top_p,
      request.guidance,
    )
    label = request.class_label
    self.class_label = None if label is None else self._rows(checks.labels(label, request.n))
    self.actions = None if request.actions is None else self._rows(request.actions)
    self.earlier = None
    if request.goes_on_from is not None:
      self.earlier = self._rows(checks.earlier_frames(request.goes_on_from, self.windows.shared))
    seeds = jax.vmap(jax.random.fold_in, (None, 0))
    self.keys = seeds(jax.random.key(request.seed), jnp.arange(self.size))

  def run(self) -> Generated:
    """Draws and decodes clip after clip."""
    n, shared = self.request.n, self.windows.shared
    video = None if self.earlier is None else self.earlier[:, -shared:] + np.float32(0.5)
    given, frames = self.beginning()
    codes, log_likelihood = [], np.zeros(n)
    for i in range(len(self.windows.starts)):
      drawn = self._draw_best(i, given, frames)
      clip = np.asarray(self.model.videos(drawn.codes))
      video = clip if video is None else windows.join(video, clip, shared)
      codes.append(drawn.codes[:n])
      log_likelihood += drawn.log_likelihood[:n].astype(np.float64)
      given = self._kept(drawn.codes)
      frames = self._seen(video[:, -shared:] - np.float32(0.5))
    return Generated(video[:n, : self.num_frames], np.stack(codes, axis=1), log_likelihood)

  def codes(self) -> Decoded:
    """Draws a single clip, not decoded."""
    if len(self.windows.starts) > 1:
      raise ValueError(
        f'num_frames ({self.num_frames}) is more than one clip has '
        f"({self.windows.clip}); generate() returns the codes of all of a video's clips"
      )
    drawn = self._draw_best(0, *self.beginning())
    return jax.tree.map(lambda a: a[: self.request.n], drawn)

  def compile(self):
    """Compiles all that `run` needs."""
    given, frames = self.beginning()
    prefixes = [given]
    if len(self.windows.starts) > 1:
      later = self._kept(np.zeros((self.size, *self.model.latent_shape), np.int32))
      if np.shape(later) != np.shape(given):
        prefixes.append(later)
    for i, prefix in enumerate(prefixes):
      self.report.compiling('the sampler' + (' of later clips' if i else ''))
      self.model.lower(*self._arguments(i, 0, prefix, frames)).compile()
    self.report.compiling('the decoder')
    codes = np.zeros((self.size, *self.model.latent_shape), np.int32)
    self.model.lower_videos(codes).compile()

  def beginning(self) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the codes that the first clip begins with, int32 [n p], and the frames it is told."""
    request, tokenizer = self.request, self.model.vqvae
    frames = None if request.frames is None else self._rows(request.frames)
    given = request.prefix
    if given is not None:
      return self._rows(np.asarray(given, np.int32).reshape(request.n, -1)), frames
    if self.earlier is None:
      return None, frames
    latents = self.windows.shared_latents
    if latents:
      # With what came before them, up to a clip: in the end as much as a clip's last codes had.
      step = tokenizer.sequence_length // self.model.latent_shape[0]
      length = min(self.earlier.shape[1], tokenizer.sequence_length) // step * step
      given = self._kept(tokenizer.encode(self.earlier[:, -length:]))
    return given, self._seen(self.earlier[:, -self.windows.shared :])

  def _draw_best(self, i: int, given, frames) -> Decoded:
    """Draws the i-th clip, the likeliest of `best_of` for each video."""
    best, n_draws = None, len(self.windows.starts) * self.request.best_of
    for j in range(self.request.best_of):
      self.report.drawing(i * self.request.best_of + j, n_draws)
      drawn = jax.tree.map(np.asarray, self.model.draw(*self._arguments(i, j, given, frames)))
      best = drawn if best is None else _likelier(best, drawn)
    return best

  def _arguments(self, i: int, j: int, given, frames) -> tuple:
    """Of the compiled program, for the j-th try at the i-th clip."""
    keys = self.keys
    if i or j:  # positions use the numbers below L
      later = jax.vmap(jax.random.fold_in, (0, None))
      keys = later(later(keys, math.prod(self.model.latent_shape) + i), j)
    actions = self.actions
    if actions is not None:
      start = self.windows.starts[i]
      frames_of_clip = start + np.arange(self.windows.clip)
      actions = actions[:, np.minimum(frames_of_clip, actions.shape[1] - 1)]
    report = self.report.codes if self.reports else None
    return (
      report,
      np.asarray(jax.random.key_data(keys)),
      self.controls,
      given,
      self.class_label,
      frames,
      actions,
    )

  def _kept(self, codes) -> np.ndarray | None:
    """The codes of a clip's last latent frames, as the beginning of the next: int32 [n p]."""
    latents = self.windows.shared_latents
    return np.asarray(codes)[:, -latents:].reshape(len(codes), -1) if latents else None

  def _seen(self, shared) -> np.ndarray | None:
    """What a prior conditioned on frames is told of the frames that the next clip begins with."""
    n_cond_frames = self.model.config.n_cond_frames
    return np.asarray(shared)[:, :n_cond_frames] if n_cond_frames else None

  def _rows(self, x) -> np.ndarray:
    x = np.asarray(x)
    return x[np.minimum(np.arange(self.size), len(x) - 1)]


def _likelier(a: Decoded, b: Decoded) -> Decoded:
  """For each clip the one of two draws that has the higher likelihood."""
  wins = b.log_likelihood > a.log_likelihood
  codes = np.where(wins.reshape(-1, *(1,) * (a.codes.ndim - 1)), b.codes, a.codes)
  return Decoded(codes, np.maximum(a.log_likelihood, b.log_likelihood), None)
