"""Throughput of the input pipeline: `python -m benchmarks.input`."""

import pathlib
import tempfile
import time

import jax

from benchmarks.videos import cache_in, write_video
from data import local
from data.formats import Options, folder
from videogpt_jax.config import from_dict
from videogpt_jax.input import DatasetConfig, train_batches
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training.step import init_state, make_train_step

Row = tuple[str, float, str]
_BATCH, _SECONDS = 16, 5.0
_STEPS = 20
_N_VIDEOS, _N_FRAMES, _HEIGHT, _WIDTH = 4, 280, 256, 340  # a common size for Kinetics


def rows() -> list[Row]:
  """Returns (name, value, unit) of each measurement."""
  with tempfile.TemporaryDirectory() as scratch, cache_in(scratch):
    videos = pathlib.Path(scratch, 'videos')
    for i in range(_N_VIDEOS):
      write_video(videos / f'{i}.mp4', _HEIGHT, _WIDTH, _N_FRAMES, seed=i)
    shards = pathlib.Path(scratch, 'shards')
    options = Options(resolution=64)
    listing = folder.list_items(str(videos), options)
    local.run(local.Job('folder', str(videos), str(shards), options), listing, n_workers=1)
    of_64 = {'resolution': 64, 'sequence_length': 16}
    sources = {
      'digits 16x32x32': DatasetConfig(),
      'noise 16x64x64': DatasetConfig('random', **of_64),
      'shards 16x64x64': DatasetConfig('tfrecord', str(shards), **of_64),
      'mp4 340x256 to 16x64x64': DatasetConfig('folder', str(videos), **of_64),
    }
    speeds = [(name, _clips_per_second(config), 'clips/s') for name, config in sources.items()]
  return [*speeds, ('waiting for data, demo VQ-VAE', 100 * _share_waiting(), '% of a step')]


def _clips_per_second(config: DatasetConfig) -> float:
  batches = train_batches(config, batch_size=_BATCH, seed=0)
  for _ in range(3):
    next(batches)
  begun, n = time.perf_counter(), 0
  while time.perf_counter() - begun < _SECONDS:
    next(batches)
    n += _BATCH
  return n / (time.perf_counter() - begun)


def _share_waiting() -> float:
  """Returns the share of a training loop's time that is spent waiting in `next`."""
  from configs import demo

  experiment = from_dict(demo.get_config())
  training = experiment.vqvae_training
  stage, key = vqvae_stage(experiment.vqvae, experiment.codes.latent_shape), jax.random.key(0)
  state = init_state(stage, training.optimizer, training.steps, key)
  step = jax.jit(make_train_step(stage, training.optimizer, training.steps), donate_argnums=0)
  batches = train_batches(experiment.dataset, batch_size=training.batch_size, seed=0)
  waited = begun = 0.0
  for i in range(_STEPS + 2):
    if i == 2:  # the step is compiled and the pipeline full
      waited, begun = 0.0, time.perf_counter()
    asked = time.perf_counter()
    batch = next(batches)
    waited += time.perf_counter() - asked
    state, _ = step(state, None, batch, key)
    jax.block_until_ready(state)
  return waited / (time.perf_counter() - begun)


if __name__ == '__main__':
  for name, value, unit in rows():
    print(f'{name:<32} {value:10.1f} {unit}')
