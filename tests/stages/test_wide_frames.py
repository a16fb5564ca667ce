"""Height and width differ, from the data to codes, prior, sampler and files."""

import dataclasses

import av
import numpy as np
import pytest
from etils import epath

import videogpt_jax
from tests import tiny_config
from videogpt_jax.config import from_dict
from videogpt_jax.stages.run import run


@pytest.mark.slow
def test_a_run_on_wide_frames_from_clips_to_files(tmp_path):
  tiny = from_dict(tiny_config.get_config())
  training = dataclasses.replace(tiny.vqvae_training, steps=1)
  experiment = dataclasses.replace(
    tiny,
    dataset=dataclasses.replace(tiny.dataset, resolution=(16, 32)),
    vqvae_training=training,
    prior=dataclasses.replace(
      tiny.prior, n_classes=0, n_cond_frames=1, resnet_dim=8, resnet_depth=18
    ),
    prior_training=training,
  )
  path = epath.Path(tmp_path / 'run')
  run(experiment, path, ['vqvae', 'prior', 'sample', 'evaluate'])
  gpt = videogpt_jax.load_videogpt(path)
  assert gpt.latent_shape == (2, 4, 8) and gpt.vqvae.spec.frame_size == (16, 32)
  video = gpt.sample(1, frames=np.zeros((1, 1, 16, 32, 3), np.float32))
  assert video.shape == (1, 4, 16, 32, 3)
  with av.open(str(path / 'samples' / '0000.mp4')) as file:
    assert (file.streams.video[0].height, file.streams.video[0].width) == (16, 32)
