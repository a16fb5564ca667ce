"""What one browser plays: rollouts of a model, and the real game beside it.

Axis letters: T H W frames, height, width; f frames of a latent frame; A action_dim.
"""

import threading
from collections.abc import Sequence

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.server.engine import Engine
from videogpt_jax.server.scenes import Scene
from videogpt_jax.videogpt import VideoGPT

MOST_KEPT = 4096
"""Frames that a session keeps for a video, at most: the latest ones."""

_ONE_AT_A_TIME = threading.Lock()
"""Steps of several browsers would slow one another down on the same cores."""


class Session:
  """A browser's world.

  Attributes:
    scenes: what it can begin with; an upload adds one.
    engine: the real game, where there is one and the page asks for it; else None.
  """

  def __init__(
    self, model: VideoGPT, scenes: Sequence[Scene], settings: SamplingSettings, game: str
  ):
    self._model, self._settings, self._game = model, settings, game
    self.scenes = list(scenes)
    self.engine: Engine | None = None
    self._world, self._kept = None, []

  @property
  def frame_size(self) -> tuple[int, int]:
    """Height and width."""
    return self._model.vqvae.spec.frame_size

  def begin(self, scene: int, seed: int, engine: bool, class_label: int | None = None) -> list:
    """Begins anew: [frames of the model, and of the game if it runs], uint8 [T H W 3] each.

    Args:
      scene: index into `scenes`.
      seed: of the world, and of the game.
      engine: whether the real game runs beside; the world then begins with its first frames.
      class_label: for a model with classes; by default the scene's, or the seed chooses.
    Raises:
      UserError: there is no such scene.
    """
    if not 0 <= scene < len(self.scenes):
      raise UserError(f'scene ({scene}) must be in [0, {len(self.scenes)})')
    start = self.scenes[scene]
    self.close()
    if engine:
      self.engine = Engine(self._game, self._model, seed)
      start = Scene(start.name, *self.engine.beginning())
    with _ONE_AT_A_TIME:
      self._world = self._model.play(
        start.frames,
        seed,
        actions=start.actions,
        class_label=self._label(start, seed, class_label),
        settings=self._settings,
      )
    shown = [to_bytes(self._world.given[0])]
    if self.engine:
      shown.append(to_bytes(start.frames + 0.5)[-len(shown[0]) :])
    self._kept = []
    return self._keep(shown)

  def _label(self, start: Scene, seed: int, wanted: int | None) -> int | None:
    if not (n := self._model.config.n_classes):
      return None
    found = [x for x in (wanted, start.class_label) if x is not None]
    return found[0] if found else seed % n

  def step(self, action: str | None) -> list:
    """Takes a step: as `begin`; the game's frames end where its player dies."""
    if self._world is None:
      raise UserError('a step needs a beginning; send "begin" first')
    with _ONE_AT_A_TIME:
      shown = [to_bytes(self._world.step(action)[0])]
    if self.engine:
      shown.append(self.engine.step(action, len(shown[0])))
    return self._keep(shown)

  def video(self) -> np.ndarray:
    """The latest frames since the beginning, uint8 [T H W' 3], the game's beside the model's."""
    if not self._kept:
      raise UserError('there is nothing to save yet; play first')
    return np.concatenate(self._kept)

  def close(self):
    """Ends the game."""
    if self.engine:
      self.engine.close()
      self.engine = None

  def _keep(self, shown: list) -> list:
    frames = np.concatenate(shown, axis=2)
    if len(frames):
      self._kept.append(frames)
    while sum(map(len, self._kept)) > MOST_KEPT:
      self._kept.pop(0)
    return shown


def to_bytes(video: np.ndarray) -> np.ndarray:
  """[0, 1] -> uint8."""
  return np.rint(np.clip(video, 0, 1) * 255).astype(np.uint8)
