"""Records ViZDoom episodes of a policy in one of the package's scenarios.

Needs the `vizdoom` package. The paper uses 1,000 episodes of 100 steps of Health Gathering Supreme,
played at random. Whoever plays so mostly faces a wall; the policy `explore` sees more of the world.
"""

import contextlib
import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator

import numpy as np

from data.formats import Item, Listing, Options, RawClip
from videogpt_jax.errors import UserError
from videogpt_jax.input.actions import refuse_choices

POLICIES = ('random', 'explore')
MIXED = 'mixed'  # the policies take turns, and are the recordings' classes

_N_TRAIN, _TEST_SHARE, _N_STEPS = 1000, 0.1, 100
_TICS_PER_STEP = 4  # duration of an action, as is usual in this game
_NEAR = 14  # of 255, in the depth buffer: a wall right ahead


def list_items(source: str, options: Options) -> Listing:
  """Lists the episodes; `source` is a scenario's name, such as 'health_gathering_supreme'.

  Raises:
    UserError: there is no such scenario or policy, or actions would have to be added up.
  """
  _scenario(source)
  if options.policy not in (*POLICIES, MIXED):
    raise UserError(f'policy ({options.policy}) must be one of {", ".join((*POLICIES, MIXED))}')
  if options.frame_skip > 1:
    refuse_choices(source)
  n_train = options.n_generated or _N_TRAIN
  n = n_train + max(1, round(_TEST_SHARE * n_train))
  policies = POLICIES if options.policy == MIXED else (options.policy,)
  items = [
    Item(
      f'{policies[i % len(policies)]}-{i}',
      'train' if i < n_train else 'test',
      source,
      label=i % len(policies) if policies[1:] else None,
      first=i,
    )
    for i in range(n)
  ]
  class_names = policies if policies[1:] else None
  return Listing(items, class_names, action_names=action_names(source))


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Records 100 steps, or fewer where the player dies.

  Actions are one-hot over all combinations of the scenario's buttons; action i leads from frame i
  to i + 1.
  """
  seed = options.seed + item.first
  rng = np.random.default_rng(seed)
  policy = POLICIES[item.label] if options.policy == MIXED else options.policy
  frames, choices = [], []
  with Episode.opened(item.path, seed) as episode:
    choose = (Random if policy == 'random' else Explore)(episode, rng)
    while len(frames) < _N_STEPS and not episode.over:
      frames.append(episode.frame())
      choices.append(choose())
      episode.act(choices[-1])
  yield RawClip(frames, np.eye(len(episode.actions), dtype=np.float32)[choices])


class Episode:
  """An episode of a scenario, step by step.

  Attributes:
    buttons: names of the scenario's buttons.
    actions: all combinations of pressed (1) and other (0) buttons; an action is its number here.
  """

  def __init__(self, game):
    self._game = game
    self.buttons = [button.name for button in game.get_available_buttons()]
    self.actions = _combinations(self.buttons)

  @classmethod
  @contextlib.contextmanager
  def opened(cls, scenario: str, seed: int):
    """Begins an episode (UserError: there is no such scenario)."""
    with _game(scenario, seed) as game:
      yield cls(game)

  @property
  def over(self) -> bool:
    """Whether the player is dead, or the time is up."""
    return self._game.is_episode_finished()

  def frame(self) -> np.ndarray:
    """What the player sees, uint8 [120 160 3]."""
    return self._game.get_state().screen_buffer.copy()

  def depth(self) -> np.ndarray:
    """How far away that is, uint8 [120 160]."""
    return self._game.get_state().depth_buffer

  def act(self, action: int):
    """Takes a step."""
    self._game.make_action(list(self.actions[action]), _TICS_PER_STEP)


def action_names(scenario: str) -> tuple[str, ...]:
  """Returns a name for each action of a scenario: the buttons that it presses."""
  import vizdoom

  game = vizdoom.DoomGame()
  game.load_config(_scenario(scenario))
  buttons = [button.name for button in game.get_available_buttons()]
  pressed = _combinations(buttons)
  return tuple('+'.join(itertools.compress(buttons, which)) or 'NOTHING' for which in pressed)


def _combinations(buttons):
  return list(itertools.product((0, 1), repeat=len(buttons)))


@contextlib.contextmanager
def _game(scenario, seed):
  """A game that shows what the player sees, and how far away it is."""
  import vizdoom

  game = vizdoom.DoomGame()
  with tempfile.TemporaryDirectory() as scratch:  # for the settings that the game writes
    game.load_config(_scenario(scenario))
    game.set_doom_config_path(os.path.join(scratch, 'settings.ini'))
    game.set_window_visible(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_depth_buffer_enabled(True)
    game.set_seed(seed)
    with _folder_to_itself():
      game.init()
    try:
      yield game
    finally:
      game.close()
  with _folder_to_itself(), contextlib.suppress(OSError):
    os.rmdir('_vizdoom')  # the game leaves it, empty


@contextlib.contextmanager
def _folder_to_itself():
  """Locks the current folder: a game dies if another makes or removes `_vizdoom` as it does."""
  folder = os.open('.', os.O_RDONLY)
  try:
    fcntl.flock(folder, fcntl.LOCK_EX)
    yield
  finally:
    os.close(folder)


class Random:
  """Presses any buttons, others at every step."""

  def __init__(self, episode: Episode, rng: np.random.Generator):
    self._n, self._rng = len(episode.actions), rng

  def __call__(self) -> int:
    return int(self._rng.integers(self._n))


class Explore:
  """Walks for a while, straight or in a curve, and turns away from what stops him."""

  def __init__(self, episode: Episode, rng: np.random.Generator):
    buttons, actions = episode.buttons, episode.actions
    needed = {'MOVE_FORWARD', 'TURN_LEFT', 'TURN_RIGHT'}
    if missing := needed.difference(buttons):
      raise UserError(
        f'policy explore needs the button {min(missing)}; this scenario has {", ".join(buttons)}'
      )

    def press(*names):
      return actions.index(tuple(int(button in names) for button in buttons))

    self._walks = [
      press('MOVE_FORWARD'),
      press('MOVE_FORWARD', 'TURN_LEFT'),
      press('MOVE_FORWARD', 'TURN_RIGHT'),
    ]
    self._turns = [press('TURN_LEFT'), press('TURN_RIGHT')]
    self._episode, self._rng = episode, rng
    self._action, self._n_left = None, 0

  def __call__(self) -> int:
    depth = self._episode.depth()
    height, width = depth.shape
    ahead = depth[height // 2, width // 3 : -width // 3]
    near, turning = ahead.min() < _NEAR, self._action in self._turns
    if near and not turning:
      self._hold(self._rng.choice(self._turns), 3, 8)
    elif near and not self._n_left:
      self._n_left = 1  # he turns on, the same way
    elif not self._n_left and not turning and self._rng.random() < 0.2:
      self._hold(self._rng.choice(self._turns), 2, 6)
    elif not self._n_left:
      self._hold(self._rng.choice(self._walks, p=(0.6, 0.2, 0.2)), 3, 12)
    self._n_left -= 1
    return self._action

  def _hold(self, action, shortest, longest):
    self._action, self._n_left = int(action), int(self._rng.integers(shortest, longest + 1))


def _scenario(name):
  import vizdoom

  path = os.path.join(vizdoom.scenarios_path, f'{name}.cfg')
  if not os.path.exists(path):
    known = sorted(
      file[:-4] for file in os.listdir(vizdoom.scenarios_path) if file.endswith('.cfg')
    )
    raise UserError(f'scenario ({name}) must be one of {", ".join(known)}')
  return path
