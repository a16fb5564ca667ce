"""A trained prior with its tokenizer: samples videos, and scores codes.

Axis letters: B batch; n videos; T H W frames, height, width; t h w latent grid; K n_codes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from videogpt_jax import programs, readers, world
from videogpt_jax.errors import UserError
from videogpt_jax.generation import Generator
from videogpt_jax.models.conditioners import Array, axes, check_conditions
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.trained import Trained, trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import checks, windows
from videogpt_jax.sampling.request import Callbacks, Generated, Request
from videogpt_jax.sampling.settings import SamplingSettings, make_settings
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.sharding import shard, shardings
from videogpt_jax.world import Start, World


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=['vqvae', 'prior'],
  meta_fields=['config', 'class_names', 'action_names', 'mesh', 'cut'],
)
@dataclasses.dataclass(frozen=True)
class VideoGPT:
  """A trained prior with its tokenizer, as a value.

  Methods are compiled once for each shape that they are called with.

  Attributes:
    vqvae: the tokenizer.
    prior: the prior's network.
    config: of the prior.
    class_names: names of the classes, or () where they are only numbered.
    action_names: of the choices, where actions are one-hot; else ().
    mesh: devices that share the model and the videos; None for one device. See `on_mesh`.
    cut: how clips were cut from recordings for training; files given to it are cut so too.
  """

  vqvae: Tokenizer
  prior: Trained[Prior]
  config: PriorConfig
  class_names: tuple[str, ...] = ()
  action_names: tuple[str, ...] = ()
  mesh: Mesh | None = None
  cut: readers.Cut = dataclasses.field(default_factory=readers.Cut)

  @property
  def latent_shape(self) -> tuple[int, ...]:
    """(t, h, w), or (t, h, w, n_codebooks), of a clip."""
    return self.vqvae.latent_shape

  @property
  def classes(self) -> tuple[str, ...]:
    """The names that `class_label` takes, or numbers if there are none; () without classes."""
    n = self.config.n_classes
    return tuple(self.class_names[:n]) or tuple(str(i) for i in range(n))

  @property
  def actions(self) -> tuple[str, ...]:
    """The names of the actions, or numbers if there are none; () without actions."""
    return self.action_names or tuple(str(i) for i in range(self.config.action_dim))

  @property
  def digest(self) -> str:
    """Digest of both networks' arrays, which tells models apart."""
    return f'{self.vqvae.digest[:32]}{self.prior.digest[:32]}'

  @property
  def generator(self) -> Generator:
    """The model as the sampling code takes it."""
    return Generator(self.vqvae, self.prior, self.config, self.mesh)

  def on_mesh(self, mesh: Mesh) -> 'VideoGPT':
    """Returns the model on several devices: videos over `data` and `fsdp`, heads over `tensor`."""
    if mesh.size == 1:
      return self
    placed = [shard(part, shardings(part, mesh)) for part in (self.vqvae, self.prior)]
    return dataclasses.replace(self, vqvae=placed[0], prior=placed[1], mesh=mesh)

  def logits(
    self,
    codes: jax.Array,
    class_label: Any = None,
    frames: Any = None,
    actions: Any = None,
    conditions: Mapping[str, Array] | None = None,
  ) -> jax.Array:
    """Returns the teacher-forced logits of every code, dropout off: float32 [B t h w K].

    A large vocabulary has no logit for each of its codes: the last axis then holds the logits of
    the factors, one after the other; see `models.code_factors`.

    Args:
      codes: int32 [B t h w], in [0, K).
      class_label, frames, actions, conditions: as for `sample`, for the B clips.
    Raises:
      UserError: a condition is missing, superfluous or of another shape; codes are out of range; or
        the prior predicts masked codes.
    """
    if self.config.target == 'masked':
      raise UserError(
        "this prior has prior.target='masked': it has no logits of a code given those before it"
      )
    if np.shape(codes)[1:] != self.latent_shape:
      raise UserError(
        f'codes have shape {list(np.shape(codes))}; they must be {axes(self.latent_shape)}'
      )
    checks.check_pair(self.prior.module().codes, self.vqvae.spec)
    checks.check_codes('codes', codes, self.vqvae.spec.n_codes)
    given = self.conditions(np.shape(codes)[0], class_label, frames, actions, conditions)
    checks.check_label(given.get('class_label'), self.config)
    check_conditions(given, self.config, self.vqvae.spec)
    return programs.logits(self.prior, self.vqvae, codes, given, mesh=self.mesh)

  def sample(self, n: int, seed: int = 0, **arguments) -> np.ndarray:
    """Generates videos: float32 [n T H W 3] in [0, 1].

    Args:
      n: number of videos.
      seed: video i depends on the seed and i, and not on n.
      **arguments: those of `request`.
    Raises:
      UserError: a value is out of its range; a condition is missing, superfluous or misshapen.
    """
    return self.generate(self.request(n, seed, **arguments)).video

  def sample_codes(self, n: int, seed: int = 0, **arguments) -> jax.Array:
    """Draws the codes of n clips, int32 [n t h w]; the arguments are those of `sample`."""
    return jax.numpy.asarray(self.generator.codes(self.request(n, seed, **arguments)))

  def request(
    self,
    n: int,
    seed: int = 0,
    *,
    class_label: Any = None,
    frames: Any = None,
    actions: Any = None,
    conditions: Mapping[str, Array] | None = None,
    continue_from: Any = None,
    prefix: Array | None = None,
    settings: SamplingSettings | None = None,
    **keywords,
  ) -> Request:
    """Returns a request for `generate`, with files read and names resolved.

    Args:
      n: number of videos.
      seed: video i depends on the seed and i.
      class_label: a class for all videos or n of them, by name or number (see `classes`).
      frames: float32 [n n_cond_frames H W 3] in [-0.5, 0.5], or a file that begins with them: a
        video, a folder of images, an array, or a photo for one frame. It is read as training reads
        its clips (`cut`).
      actions: float32 [n T action_dim], one vector a frame, or a NumPy file of [T action_dim].
      conditions: all conditions by name, instead of or beside the three above.
      continue_from: float32 [n T' H W 3] in [-0.5, 0.5], a video whose last frames the new one
        begins with, or a file as for `frames`.
      prefix: int32 [n t' h w] or [n p], the first codes, which are kept.
      settings: how to draw; or its fields as keywords:
      **keywords: temperature, top_k, top_p, guidance, best_of, num_frames, strategy; see
        `SamplingSettings`.
    Raises:
      UserError: a keyword is unknown, a value impossible, or a file cannot be read.
    """
    if settings is not None and keywords:
      raise UserError(f'give settings, or {", ".join(keywords)} as keywords, not both')
    return Request(
      n=n,
      seed=seed,
      settings=(settings or make_settings(keywords)).settings,
      conditions=self.conditions(n, class_label, frames, actions, conditions),
      prefix=prefix,
      continue_from=self._continued(n, continue_from),
    )

  def conditions(
    self, n: int, class_label=None, frames=None, actions=None, conditions=None
  ) -> dict[str, Array]:
    """Returns the conditions by name, with files read and class names resolved; see `request`."""
    given, n_cond_frames = dict(conditions or {}), self.config.n_cond_frames
    if class_label is not None:
      given['class_label'] = readers.class_labels(class_label, self.classes, n)
    if frames is not None:
      if not n_cond_frames:
        raise UserError(
          'this prior is not conditioned on frames; leave frames out, or give them as --continue '
          '(continue_from), whose frames the video goes on from'
        )
      size = self.vqvae.spec.frame_size
      take = readers.Take(self.cut, size, n_cond_frames, n_cond_frames)
      given['frames'] = readers.video('frames', frames, take, n)
    if actions is not None:
      given['actions'] = readers.actions(actions, self.config.action_dim, n)
    return {name: value for name, value in given.items() if value is not None}

  def _continued(self, n: int, source: Any) -> Array | None:
    if source is None:
      return None
    spec = self.vqvae.spec
    wanted = windows.plan(spec, self.config, 1, continues=True).shared
    take = readers.Take(self.cut, spec.frame_size, wanted, wanted, from_end=True)
    return readers.video('continue_from', source, take, n)

  def generate(self, request: Request, callbacks: Callbacks | None = None) -> Generated:
    """Generates videos, with their codes and likelihoods; see `sample`.

    Args:
      request: of `self.request`.
      callbacks: progress.
    """
    return self.generator.generate(request, callbacks)

  def compile(self, request: Request, callbacks: Callbacks | None = None):
    """Compiles all that `generate` runs for this request, so that it starts at once."""
    self.generator.compile(request, callbacks)

  def play(
    self,
    frames: Any = None,
    seed: int = 0,
    *,
    n: int = 1,
    actions: Any = None,
    class_label: Any = None,
    settings: SamplingSettings | None = None,
    **keywords,
  ) -> World:
    """Returns a world that answers action by action and runs on without an end.

    Args:
      frames: its beginning: float32 [n T H W 3] in [-0.5, 0.5], or [T H W 3] for all rollouts, or a
        file as for `request`. Its last frames are taken, as many as fill latent frames, and a
        clip's at most. None begins with nothing.
      seed: rollout i depends on the seed, i and its actions.
      n: rollouts.
      actions: float32 [n T A], or [T A], between these frames.
      class_label: a class for all rollouts, or one for each.
      settings: how to draw; or its fields as keywords:
      **keywords: temperature, top_k, top_p, guidance, strategy; see `SamplingSettings`.
    Raises:
      UserError: the model cannot go on without an end, or a value is impossible.
    """
    if settings is not None and keywords:
      raise UserError(f'give settings, or {", ".join(keywords)} as keywords, not both')
    settings = settings or make_settings(keywords)
    world.check_plays(self.generator)
    start = self._start(n, frames, actions, class_label, seed)
    return World(self.generator, n, start, settings.settings, self.action_names)

  def _start(self, n: int, frames: Any, actions: Any, class_label: Any, seed: int) -> Start:
    """Returns how rollouts begin, with files read and as many frames as fit; see `play`."""
    spec, conditions = self.vqvae.spec, self.conditions(n, class_label)
    if frames is None:
      return Start(None, actions, conditions, seed)
    most = spec.sequence_length
    take = readers.Take(self.cut, spec.frame_size, most, 1, from_end=True)
    frames = _for_all(readers.video('frames', frames, take, n), 5, n)
    n_frames = spec.frames(spec.time_grid.whole_latent_frames(min(frames.shape[1], most)))
    if not n_frames:
      spec.latent_frames(frames.shape[1])  # which says what lengths fit
    if actions is not None:
      actions = _for_all(readers.actions(actions, self.config.action_dim, n), 3, n)
      if actions.shape[1] == frames.shape[1] - 1:  # none after the last frame
        actions = np.pad(actions, [(0, 0), (0, 1), (0, 0)])
      if actions.shape[1] != frames.shape[1]:
        raise UserError(f'actions are for {actions.shape[1]} frames, not {frames.shape[1]}')
      actions = actions[:, -n_frames:]
    return Start(frames[:, -n_frames:], actions, conditions, seed)

  def videos(self, codes: jax.Array) -> jax.Array:
    """Decodes codes int32 [n t h w] as `sample` does: float32 [n T H W 3] in [0, 1]."""
    return programs.videos(self.vqvae, codes, shares=self.generator.shares, mesh=self.mesh)


def _for_all(values: Array, n_axes: int, n: int) -> np.ndarray:
  """Returns values with an axis of rollouts: those of one are for all."""
  values = np.asarray(values)
  return values if values.ndim == n_axes else np.repeat(values[None], n, axis=0)


def abstract_prior(config: PriorConfig, spec: CodeSpec) -> Trained[Prior]:
  """Returns a prior of such codes as shapes."""
  return trained(nnx.eval_shape(lambda: Prior(config, spec, rngs=nnx.Rngs(0))))
