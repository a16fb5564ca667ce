"""Worlds to play in: a model that answers action by action, without an end.

    world = videogpt_jax.load_videogpt('runs/doom').play(frames='start.mp4', seed=0)
    frames = world.step('MOVE_FORWARD')           # float32 [f H W 3] in [0, 1]

Axis letters: n rollouts; T H W frames, height, width; f frames of a latent frame; t h w latent
grid; A action_dim.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from videogpt_jax import programs
from videogpt_jax.errors import UserError
from videogpt_jax.generation import Generator
from videogpt_jax.models.conditioners import Array
from videogpt_jax.models.rotary import frame_angles
from videogpt_jax.sampling import checks
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.sampling.strategies import strategy_for
from videogpt_jax.streaming import Decoder

FRAMES_A_SECOND = 12
"""At which a world is shown whose data state no frame rate."""


def check_plays(of: Generator):
  """Refuses a model that cannot go on without an end (UserError)."""
  config = of.config
  wanted = {
    'target': 'next',
    'attn_type': 'window',
    'positions': 'rotary',
    'n_cond_frames': 0,
    'vector_dim': 0,
  }
  if config.action_dim:
    wanted['action_form'] = 'before'
  faults = [
    f'prior.{name} is {getattr(config, name)!r} (not {value!r})'
    for name, value in wanted.items()
    if getattr(config, name) != value
  ]
  if faults:
    raise UserError(
      f'this prior cannot be played: {", ".join(faults)}; sample clips of it, or train one with '
      'these settings (configs/doom.py)'
    )
  of.tokenizer.config.check_streams()


def plays(of: Generator) -> bool:
  """Whether a model can go on without an end."""
  try:
    check_plays(of)
  except UserError:
    return False
  return True


@dataclasses.dataclass(frozen=True)
class Start:
  """How rollouts begin.

  Attributes:
    frames: float32 [n T H W 3] in [-0.5, 0.5], which fill latent frames; or None for none.
    actions: float32 [n T A], those between these frames, or None: then they are zeros.
    conditions: the other conditions by name, [n ...] each, for all time.
    seed: rollout i depends on the seed and i.
  """

  frames: np.ndarray | None = None
  actions: np.ndarray | None = None
  conditions: Mapping[str, Array] = dataclasses.field(default_factory=dict)
  seed: int = 0


class World:
  """Rollouts of a model, a latent frame at a step.

  The KV cache holds the frames in the prior's window, and the decoder what it needs of the frames
  before: a step takes neither anew, and its cost does not grow. The same start, seed and actions
  give the same frames.

  Attributes:
    n: rollouts.
    action_names: of the choices, where actions are one-hot; () without actions.
    given: float32 [n T H W 3] in [0, 1], the start's frames as the tokenizer has them; T may be 0.
    actions: those of the steps since the start, float32 [n f A] each, or None without actions.
    passes: through the prior, that drew the latest frame of each rollout, int [n].
  """

  def __init__(
    self,
    of: Generator,
    n: int,
    start: Start,
    settings: SamplingSettings,
    action_names: tuple[str, ...] = (),
  ):
    check_plays(of)
    self._of, self._settings, self.n = of, settings, n
    settings.check(of.tokenizer.spec.n_codes, of.config)
    if (settings.best_of, settings.num_frames) != (1, 0):
      raise UserError('best_of and num_frames are of clips; a world is drawn frame by frame')
    self.action_names = action_names
    self.reset(start)

  @property
  def frames_of_a_step(self) -> int:
    """f; a first latent frame without frames before it may stand for one alone."""
    return self._of.tokenizer.spec.time_grid.factor

  def reset(self, start: Start | None = None) -> np.ndarray:
    """Begins anew, by default as before: `given`.

    Raises:
      UserError: frames, labels or actions are not the model's.
    """
    self._start = start = self._start if start is None else start
    self._check(start)
    self.actions, self.passes = [], np.zeros(self.n, int)
    self._decoder = Decoder(self._of.tokenizer, self._of.shares, self._of.mesh)
    self._keys = jax.vmap(jax.random.fold_in, (None, 0))(
      jax.random.key(start.seed), np.arange(self.n)
    )
    self._n_latent_frames = 0
    self._stream = programs.begin_stream(
      self._of.prior, self._settings.controls, n=self.n, mesh=self._of.mesh
    )
    self.given = self._take(start)
    return self.given

  def step(self, action: Any = None) -> np.ndarray:
    """Returns the frames that an action leads to, float32 [n f H W 3] in [0, 1].

    Args:
      action: a number or name of `action_names`, held for the f frames; a vector float32 [A]; or
        one of these for each rollout. None for a model without actions.
    Raises:
      UserError: there is no such action.
    """
    vectors = self._vectors(action)
    self.actions.append(vectors)
    fold = jax.vmap(jax.random.fold_in, (0, None))
    drawn, self._stream = programs.draw_latent_frame(
      self._of.prior,
      self._of.tokenizer,
      np.asarray(jax.random.key_data(fold(self._keys, self._n_latent_frames))),
      self._settings.controls,
      self._conditions(vectors),
      self._angles(),
      self._stream,
      strategy=strategy_for(self._settings.strategy, self._of.config),
      mesh=self._of.mesh,
    )
    self._n_latent_frames += 1
    self.passes = np.asarray(drawn.passes)
    return self._decoder(np.asarray(drawn.codes))

  def _take(self, start: Start) -> np.ndarray:
    """Takes the start's frames through tokenizer and prior: their reconstruction."""
    spec = self._of.tokenizer.spec
    if start.frames is None:
      return np.zeros((self.n, 0, *spec.clip_shape[1:]), np.float32)
    codes = np.concatenate(list(self._of.tokenizer.encode_stream([start.frames])), axis=1)
    vectors = self._leading(start, spec.time_grid)
    for i in range(codes.shape[1]):
      self._stream = programs.feed_latent_frame(
        self._of.prior,
        self._of.tokenizer,
        self._conditions(vectors[i]),
        self._angles(),
        self._stream,
        codes[:, i : i + 1],
        mesh=self._of.mesh,
      )
      self._n_latent_frames += 1
    return self._decoder(codes)

  def _leading(self, start: Start, grid) -> list[np.ndarray | None]:
    """Returns the actions [n f A] that lead to each given latent frame; zeros where none does."""
    n_frames, t = start.frames.shape[1], grid.latent_frames(start.frames.shape[1])
    if not self._of.config.action_dim:
      return [None] * t
    before = np.zeros((self.n, t * grid.factor, self._of.config.action_dim), np.float32)
    if start.actions is not None:
      before[:, before.shape[1] - n_frames + 1 :] = start.actions[:, : n_frames - 1]
    return np.split(before, t, axis=1)

  def _conditions(self, vectors: np.ndarray | None) -> dict[str, Array]:
    conditions = dict(self._start.conditions)
    return conditions if vectors is None else conditions | {'actions': vectors}

  def _angles(self) -> np.ndarray:
    spec, config = self._of.tokenizer.spec, self._of.config
    return frame_angles(self._n_latent_frames, spec.latent_shape, config.head_size)

  def _vectors(self, action: Any) -> np.ndarray | None:
    """Returns float32 [n f A] of an action, see `step`."""
    A, f = self._of.config.action_dim, self.frames_of_a_step
    if not A:
      if action is not None:
        raise UserError(f'this model has no actions; step() takes none, not {action!r}')
      return None
    if action is None:
      raise UserError(f'step() needs an action of this model: {self._actions_told()}')
    if isinstance(action, str) or np.ndim(action) == 0:
      vectors = self._one_hot(action)[None, None]
    else:
      values = list(action)
      chosen = all(isinstance(x, str | int | np.integer) for x in values) and len(values) == self.n
      values = [self._one_hot(x) for x in values] if chosen else action
      vectors = np.asarray(values, np.float32)
      vectors = vectors[:, None] if vectors.ndim == 2 else vectors
      vectors = vectors[None, None] if vectors.ndim == 1 else vectors
    try:
      vectors = np.broadcast_to(vectors, (self.n, f, A)).copy()
    except ValueError:
      raise UserError(
        f'an action has shape {list(np.shape(action))}; give a number below {A}, a vector [{A}], '
        f'or [{self.n}, {A}] for {self.n} rollouts'
      ) from None
    if not np.isfinite(vectors).all():
      raise UserError('an action holds numbers that are not finite')
    if not self._n_latent_frames:
      vectors[:, : -f + 1 or None] = 0  # no action leads to the first frame
    return vectors

  def _one_hot(self, action: Any) -> np.ndarray:
    A, names = self._of.config.action_dim, self.action_names
    if isinstance(action, str):
      if action not in names:
        raise UserError(f'action {action!r} is unknown; actions are {self._actions_told()}')
      action = names.index(action)
    if isinstance(action, bool) or not isinstance(action, int | np.integer) or not 0 <= action < A:
      raise UserError(f'action {action!r} is unknown; actions are {self._actions_told()}')
    return np.eye(A, dtype=np.float32)[action]

  def _actions_told(self) -> str:
    names, A = self.action_names, self._of.config.action_dim
    numbers = f'0 to {A - 1}' if A > 1 else '0'
    return f'{numbers}, or {", ".join(names)}' if names else f'{numbers}, or a vector of {A}'

  def _check(self, start: Start):
    """Refuses what rollouts cannot begin with (UserError)."""
    spec, config = self._of.tokenizer.spec, self._of.config
    if not 0 <= start.seed < 2**32:
      raise UserError(f'seed ({start.seed}) must be in [0, 2**32)')
    checks.check_label(start.conditions.get('class_label'), config)
    if config.n_classes and start.conditions.get('class_label') is None:
      raise UserError(f'this prior is conditioned on classes; give class_label, shape [{self.n}]')
    checks.check_range('frames', start.frames)
    if start.frames is None:
      if start.actions is not None:
        raise UserError('actions lead from one given frame to the next; give frames with them')
      return
    size = np.shape(start.frames)[:1] + np.shape(start.frames)[2:]
    if size != (self.n, *spec.clip_shape[1:]):
      wanted = f'[{self.n}, T, {", ".join(map(str, spec.clip_shape[1:]))}]'
      raise UserError(f'frames have shape {list(np.shape(start.frames))}; they must be {wanted}')
    n_frames = np.shape(start.frames)[1]
    spec.latent_frames(n_frames)
    if start.actions is not None:
      wanted = (self.n, n_frames, config.action_dim)
      if np.shape(start.actions) not in (wanted, (wanted[0], n_frames - 1, wanted[2])):
        raise UserError(
          f'actions have shape {list(np.shape(start.actions))}; these frames want {list(wanted)}'
        )
