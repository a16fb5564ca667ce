"""ViZDoom, recorded: episodes of a random policy in a scenario that the package brings along.

Needs the `vizdoom` package. The paper: 1,000 episodes of 100 steps of Health Gathering Supreme.
"""

import contextlib
import importlib.util
import itertools
import os
import tempfile
from collections.abc import Iterator

import numpy as np

from data.formats import Item, Listing, Options, RawClip

_N_TRAIN, _TEST_SHARE, _N_STEPS = 1000, 0.1, 100
_TICS_PER_STEP = 4  # how long an action is held, as is usual in this game


def list_items(source: str, options: Options) -> Listing:
  """An episode an item; `source` is the scenario's name, 'health_gathering_supreme' say."""
  if importlib.util.find_spec('vizdoom') is None:
    raise ValueError('recording needs the vizdoom package; pip install vizdoom')
  _scenario(source)
  n_train = options.n_generated or _N_TRAIN
  n = n_train + max(1, round(_TEST_SHARE * n_train))
  return Listing(
    [Item(f'episode-{i}', 'train' if i < n_train else 'test', source, first=i) for i in range(n)]
  )


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """100 steps; an episode that ends before is followed by the next. Actions are one-hot."""
  import vizdoom

  seed = options.seed + item.first
  with tempfile.TemporaryDirectory() as scratch:  # the game writes its settings somewhere
    game = vizdoom.DoomGame()
    game.load_config(_scenario(item.path))
    game.set_doom_config_path(os.path.join(scratch, 'settings.ini'))
    game.set_window_visible(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_seed(seed)
    game.init()
    actions = _actions(game.get_available_buttons_size())
    choices = np.random.default_rng(seed).integers(len(actions), size=_N_STEPS)
    frames = []
    for choice in choices:
      if game.is_episode_finished():
        game.new_episode()
      frames.append(game.get_state().screen_buffer.copy())
      game.make_action(list(actions[choice]), _TICS_PER_STEP)
    game.close()
  with contextlib.suppress(OSError):
    os.rmdir('_vizdoom')  # which it leaves where it is run, empty
  one_hot = np.eye(len(actions), dtype=np.float32)[choices]
  yield RawClip(frames[:: options.frame_skip], one_hot[:: options.frame_skip])


def _actions(n_buttons):
  """All combinations of buttons, pressed or not."""
  return list(itertools.product((0, 1), repeat=n_buttons))


def _scenario(name):
  import vizdoom

  path = os.path.join(vizdoom.scenarios_path, f'{name}.cfg')
  if not os.path.exists(path):
    known = sorted(
      file[:-4] for file in os.listdir(vizdoom.scenarios_path) if file.endswith('.cfg')
    )
    raise ValueError(f'scenario ({name}) must be one of {", ".join(known)}')
  return path
