"""A model's world as an environment of Gymnasium.

env = WorldEnv(videogpt_jax.load_videogpt('runs/doom'), frames=clip)
observation, info = env.reset(seed=0)
observation, reward, terminated, truncated, info = env.step(env.action('MOVE_FORWARD'))
"""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.videogpt import VideoGPT
from videogpt_jax.world import FRAMES_A_SECOND


class WorldEnv(gymnasium.Env):
  """One rollout, a latent frame at a step.

  Observations are its last frame, uint8 [H W 3]; `info['frames']` has all f of the step. The model
  has learnt neither rewards nor ends: the reward is always 0, and only `max_steps` ends an episode.

  Args:
    model: conditioned on one-hot actions, and able to go on without an end (`VideoGPT.play`).
    frames, actions: its beginning, as for `VideoGPT.play`; `reset` takes others in its options.
    max_steps: steps after which an episode is truncated; 0 for never.
    settings: how to draw; by default at temperature 1.
  Raises:
    UserError: the model has no actions, or cannot go on without an end.
  """

  metadata: ClassVar[dict] = {'render_modes': ['rgb_array']}

  def __init__(
    self,
    model: VideoGPT,
    frames: Any = None,
    actions: Any = None,
    *,
    max_steps: int = 0,
    settings: SamplingSettings | None = None,
    render_mode: str | None = 'rgb_array',
  ):
    if not model.config.action_dim:
      raise UserError('an environment needs a model with actions, and this one has none')
    self.render_mode, self._model, self._max_steps = render_mode, model, max_steps
    self._beginning = {'frames': frames, 'actions': actions}
    self._settings = settings or SamplingSettings()
    size = (*model.vqvae.spec.frame_size, 3)
    self.observation_space = gymnasium.spaces.Box(0, 255, size, np.uint8)
    self.action_space = gymnasium.spaces.Discrete(model.config.action_dim)
    self.action_names = model.action_names
    self.metadata = self.metadata | {'render_fps': model.cut.frame_rate or FRAMES_A_SECOND}
    self._world, self._frame, self._n_steps = None, np.zeros(size, np.uint8), 0

  def action(self, name: str) -> int:
    """Returns the number of a named action (UserError: there is none of this name)."""
    if name not in self.action_names:
      known = ', '.join(self.action_names) or 'numbered only'
      raise UserError(f'action {name!r} is unknown; actions are {known}')
    return self.action_names.index(name)

  def reset(self, *, seed: int | None = None, options: dict | None = None):
    """Begins anew: (observation, info).

    Args:
      seed: of the model's draws; None goes on from the last one.
      options: `frames` and `actions`, another beginning.
    """
    super().reset(seed=seed)
    of_draws = int(self.np_random.integers(2**32)) if seed is None else seed % 2**32
    self._world = self._model.play(
      seed=of_draws, settings=self._settings, **(self._beginning | (options or {}))
    )
    self._n_steps = 0
    given = self._world.given[0]
    # Without a beginning, the model makes the first frame.
    frames = given if len(given) else self._world.step(0)[0]
    return self._observe(frames)

  def step(self, action: int):
    """Takes an action: (observation, 0.0, False, truncated, info).

    Raises:
      UserError: there is no such action, or `reset` has not been called.
    """
    if self._world is None:
      raise UserError('step() needs a beginning; call reset() first')
    observation, info = self._observe(self._world.step(action)[0])
    self._n_steps += 1
    truncated = 0 < self._max_steps <= self._n_steps
    return observation, 0.0, False, truncated, info

  def render(self) -> np.ndarray | None:
    """Returns the latest frame, uint8 [H W 3]."""
    return self._frame if self.render_mode == 'rgb_array' else None

  def _observe(self, frames: np.ndarray):
    frames = np.rint(frames * 255).astype(np.uint8)
    self._frame = frames[-1]
    return self._frame, {'frames': frames}
