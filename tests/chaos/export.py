"""The folder of an export, as a kind of file that comes from strangers; see `kinds`."""

import numpy as np

NAME = 'model'


def _experiment():
  from tests import untrained

  return untrained.experiment(n_classes=3, action_dim=2, action_form='during')


def write(folder):
  """Writes a small model that brings held-out clips."""
  from tests import untrained
  from videogpt_jax import model_folder, starts

  (folder / NAME).mkdir()
  model_folder.write(folder / NAME, untrained.make_model(_experiment()))
  clips = starts.Starts(
    np.zeros((2, 4, 16, 16, 3), np.uint8), np.ones((2, 4, 2), np.float32), np.arange(2, dtype='i4')
  )
  starts.write_starts(folder / NAME / model_folder.STARTS, clips)


def harm(draw, folder):
  """Changes values of the configuration, or bytes of any file."""
  from tests.chaos.kinds import harm_a_file, harm_json

  (harm_json if draw.random() < 0.5 else harm_a_file)(draw, folder / NAME)


def read(folder):
  """Loads the model and its clips, and makes conditions of them."""
  from videogpt_jax import loading

  loading.load_model(folder / NAME)
  model = loading.load_videogpt(folder / NAME)
  if (brought := loading.load_starts(folder / NAME)) is not None:
    brought.conditions(3, model.config, 9)
