"""Records ViZDoom episodes of a random policy in one of the package's scenarios.

Needs the `vizdoom` package. The paper uses 1,000 episodes of 100 steps of Health Gathering Supreme.
"""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator

import numpy as np

from data.formats import Item, Listing, Options, RawClip
from videogpt_jax.errors import UserError
from videogpt_jax.input.actions import refuse_choices

_N_TRAIN, _TEST_SHARE, _N_STEPS = 1000, 0.1, 100
_TICS_PER_STEP = 4  # duration of an action, as is usual in this game


def list_items(source: str, options: Options) -> Listing:
  """Lists the episodes; `source` is a scenario's name, such as 'health_gathering_supreme'.

  Raises:
    UserError: there is no such scenario, or actions would have to be added up.
  """
  _scenario(source)
  if options.frame_skip > 1:
    refuse_choices(source)
  n_train = options.n_generated or _N_TRAIN
  n = n_train + max(1, round(_TEST_SHARE * n_train))
  return Listing(
    [Item(f'episode-{i}', 'train' if i < n_train else 'test', source, first=i) for i in range(n)]
  )


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Records 100 steps, over several episodes if one ends earlier. Actions are one-hot."""
  import vizdoom

  seed = options.seed + item.first
  with tempfile.TemporaryDirectory() as scratch:  # for the settings that the game writes
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
    os.rmdir('_vizdoom')  # the game leaves it, empty, in the current folder
  one_hot = np.eye(len(actions), dtype=np.float32)[choices]
  yield RawClip(frames, one_hot)


def _actions(n_buttons):
  """Returns all combinations of pressed buttons."""
  return list(itertools.product((0, 1), repeat=n_buttons))


def _scenario(name):
  import vizdoom

  path = os.path.join(vizdoom.scenarios_path, f'{name}.cfg')
  if not os.path.exists(path):
    known = sorted(
      file[:-4] for file in os.listdir(vizdoom.scenarios_path) if file.endswith('.cfg')
    )
    raise UserError(f'scenario ({name}) must be one of {", ".join(known)}')
  return path
