"""The benchmark of videos compares ways to the same clips."""

import numpy as np
import tensorflow as tf

from benchmarks import videos
from videogpt_jax.framing import Framing
from videogpt_jax.input.clips import resize_and_crop
from videogpt_jax.input.recording import pick, read
from videogpt_jax.input.video_scan import scan


def test_clips_are_those_of_version_0_2(tmp_path):
  path = videos.write_video(tmp_path / 'videos/0.mp4', 256, 340, 40)
  recording = scan(path)
  for start in (0.0, 0.7):
    clip = pick(recording, start, videos.T)
    before = resize_and_crop(
      tf.constant(videos._whole_frames(path, recording.stamps[clip])), videos.SIZE
    )
    ours = read(recording, clip, Framing(videos.SIZE))
    np.testing.assert_allclose(ours, before, atol=2e-3)
