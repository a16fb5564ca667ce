"""What each of two processes with four devices does in test_distributed.py: FOLDER."""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from tests.training.test_meshes import gradients
from tests.training.tiny import ListLog, Stop, StoppedError, data, make_stage
from videogpt_jax.training import distributed
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit
from videogpt_jax.training.interfaces import Data
from videogpt_jax.training.sharding import MeshConfig, host_share, make_mesh

SIZES = (2, 2, 2)

CONFIG = TrainingConfig(
  steps=6, batch_size=8, log_every=1, evaluate_every=100, evaluate_batches=1, checkpoint_every=2
)


def train(folder, log):
  """Trains the tiny prior on all devices; every process feeds its share of the clips."""
  mesh = make_mesh(MeshConfig(*SIZES))
  index, count = host_share(mesh)
  everyone, n = data(), CONFIG.batch_size // count
  mine = lambda batch: {name: x[index * n : (index + 1) * n] for name, x in batch.items()}
  share = Data(lambda step: map(mine, everyone.train(step)), lambda: map(mine, everyone.test()))
  with Checkpoints(folder) as checkpoints:
    fit(make_stage('prior'), CONFIG, share, mesh, checkpoints, log)
  return log


def main(folder):
  distributed.start()
  assert (jax.process_count(), jax.device_count()) == (2, 8)
  told = {}
  for name in ('vqvae', 'prior'):
    found = gradients(name, SIZES)
    if jax.process_index() == 0:
      np.savez(folder / name, **found)
  stopped = Stop(5)
  try:
    train(folder / 'begun_by_two', stopped)
  except StoppedError:
    told['begun'] = {step: float(loss) for step, loss in stopped.losses.items()}
  resumed = train(folder / 'begun_by_one', ListLog())
  told['resumed'] = {step: float(loss) for step, loss in resumed.losses.items()}
  told['scores'] = resumed.scored[CONFIG.steps]
  (folder / f'told{jax.process_index()}.json').write_text(json.dumps(told))
  distributed.stop()


if __name__ == '__main__':
  main(Path(sys.argv[1]))
