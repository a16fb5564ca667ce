"""The real game beside the model, so that one sees where the model drifts off.

Axis letters: T H W frames, height, width; A action_dim.
"""

import contextlib
import importlib
import importlib.util

import numpy as np

from videogpt_jax import shipped
from videogpt_jax.framing import Framing, reframe
from videogpt_jax.videogpt import VideoGPT

GAMES = ('health_gathering_supreme',)
"""Scenarios of ViZDoom that are recorded here."""


def game_of(model: VideoGPT) -> str:
  """Returns the game whose actions a model has, if it is installed; else ''."""
  if not model.action_names or not importlib.util.find_spec('vizdoom'):
    return ''
  return next((g for g in GAMES if _vizdoom().action_names(g) == model.action_names), '')


def _vizdoom():
  shipped.make_importable()
  return importlib.import_module('data.formats.vizdoom')


class Engine:
  """An episode of the game, whose frames are brought to the model's size as recordings are.

  Args:
    game: of `game_of`.
    model: that is played beside it.
    seed: of the episode.
  """

  def __init__(self, game: str, model: VideoGPT, seed: int):
    self._open = contextlib.ExitStack()
    self._episode = self._open.enter_context(_vizdoom().Episode.opened(game, seed))
    self._explore = _vizdoom().Explore(self._episode, np.random.default_rng(seed))
    self._names = model.action_names
    cut = model.cut
    self._framing = Framing(model.vqvae.spec.frame_size, cut.fit, cut.antialias)
    self._n_first = model.vqvae.spec.sequence_length
    self._last = None

  def beginning(self) -> tuple[np.ndarray, np.ndarray]:
    """Explores for a clip: frames float32 [T H W 3] in [-0.5, 0.5], and actions [T A] between."""
    frames, choices = [], []
    while len(frames) < self._n_first and not self._episode.over:
      frames.append(self._frame())
      choices.append(self._explore())
      if len(frames) < self._n_first:
        self._episode.act(choices[-1])
    self._last = frames[-1]
    actions = np.eye(len(self._names), dtype=np.float32)[choices]
    return np.stack(frames).astype(np.float32) / np.float32(255) - np.float32(0.5), actions

  def step(self, action: str, n: int) -> np.ndarray:
    """Holds an action for n frames: uint8 [n H W 3]; the last one again once the player is dead."""
    frames = []
    for _ in range(n):
      if not self._episode.over:
        self._episode.act(self._names.index(action))
      if not self._episode.over:
        self._last = self._frame()
      frames.append(self._last)
    return np.stack(frames)

  def close(self):
    """Ends the game's process."""
    self._open.close()

  def _frame(self) -> np.ndarray:
    return np.rint(reframe(self._episode.frame(), self._framing)).astype(np.uint8)
