"""Handwritten digits that bounce off the walls, generated on demand.

Letters: D digits; P side of a handwritten image (8); T H W frames, height, width.
"""

import functools
import pathlib

import numpy as np
import tensorflow as tf

from videogpt_jax import media, shipped
from videogpt_jax.input.clips import Clips
from videogpt_jax.input.config import DatasetConfig

_FILE = shipped.ROOT / 'data' / 'digits' / 'digits.npz'
_N_TRAIN_IMAGES = 1500  # the first ones; the file's order keeps most writers in one split
_GAIN = 1.25  # interpolation dims the strokes; this keeps their middle white


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns `n_train_clips` or `n_test_clips` clips, labelled with the class of the first digit.

  Clip i of a split depends on `data_seed` and i alone. The splits share no handwritten image.
  """
  images, labels = (tf.constant(a) for a in load_images(split))
  is_test = int(split != 'train')

  def read(index, start):
    del start  # a clip is generated whole
    draws = tf.random.stateless_uniform(
      (5, config.n_digits), seed=tf.stack([config.data_seed, 2 * index + is_test])
    )
    which = tf.cast(draws[0] * len(images), tf.int32)
    frames = _draw(tf.gather(images, which), _paths(draws[1:], config), config)
    return {'video': frames[..., None], 'label': tf.gather(labels, which[0])}

  n = config.n_test_clips if is_test else config.n_train_clips
  return Clips(n, read, class_names=tuple('0123456789'))


def write_videos(folder: pathlib.Path, config: DatasetConfig, n: int, fps: float = 8.0):
  """Writes the first n training clips as videos, folder/CLASS/NUMBER.mp4: an example of a folder.

  Args:
    folder: to write to; it is made.
    config: of the clips.
    n: number of videos.
    fps: frames a second.
  """
  split = clips(config, 'train')
  for i in range(n):
    clip = split.read(tf.constant(i, tf.int64), tf.constant(0.0))
    of_class = folder / split.class_names[int(clip['label'])]
    of_class.mkdir(parents=True, exist_ok=True)
    video = np.rint(clip['video'].numpy()).astype(np.uint8).repeat(3, axis=-1)
    media.write_mp4(of_class / f'{i:04d}.mp4', video, fps)


@functools.cache
def load_images(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns images float32 [n 8 8] in [0, 1] and classes int32 [n] of a split."""
  part = slice(_N_TRAIN_IMAGES) if split == 'train' else slice(_N_TRAIN_IMAGES, None)
  with np.load(_FILE) as file:
    return file['images'][part] / np.float32(16), file['labels'][part].astype(np.int32)


def _paths(draws, config):
  """Returns top left corners float32 [D T 2], in pixels, from uniform draws [4 D]."""
  room = tf.constant(config.frame_size, tf.float32) - config.digit_size
  angle = 2 * np.pi * draws[2]
  speed = config.digit_speed * (0.5 + draws[3])
  velocity = tf.stack([tf.sin(angle), tf.cos(angle)], -1) * speed[:, None]
  times = tf.range(config.sequence_length, dtype=tf.float32) * config.frame_skip
  unfolded = tf.transpose(draws[:2])[:, None] * room + velocity[:, None] * times[:, None]
  return room - tf.abs(unfolded % (2 * room) - room)  # reflection at the walls


def _draw(images, corners, config):
  """Draws images [D P P] at top left corners [D T 2]: float32 [T H W] in [0, 255].

  Interpolates with one matrix for each axis, at any fraction of a pixel.
  """
  P = images.shape[-1]
  weights = []
  for axis, size in enumerate(config.frame_size):
    pixels = tf.range(size, dtype=tf.float32) + 0.5
    inside = (pixels - corners[..., axis, None]) * (P / config.digit_size) - 0.5  # [D T size]
    weights.append(_cubic(inside[..., None] - tf.range(P, dtype=tf.float32)))  # [D T size P]
  digits = tf.einsum('dthp,dpq,dtwq->dthw', weights[0], images, weights[1])
  return 255 * tf.clip_by_value(_GAIN * tf.reduce_max(digits, 0), 0, 1)


def _cubic(x):
  """Computes Keys' cubic convolution kernel with a = -1/2 (IEEE ASSP 29(6), 1981, eq. 15)."""
  x = tf.abs(x)
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return tf.where(x < 1, near, tf.where(x < 2, far, 0.0))
