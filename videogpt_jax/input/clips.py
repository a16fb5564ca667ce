"""The common form of all sources, and what turns a recording into a clip.

Letters: T H W frames, height, width of a clip; h w height and width of a recording; C colour.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

_log = logging.getLogger(__name__)

# A machine's accelerators belong to JAX. Too late where a program has used TensorFlow already.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], 'GPU')
  tf.config.set_visible_devices([], 'TPU')


@dataclasses.dataclass(frozen=True)
class Clips:
  """One split of a data set: clips by their number.

  Attributes:
    n: how many recordings there are.
    read: (index int64 [] in [0, n), start float32 [] in [0, 1)) -> the clip, as tensors, inside a
      tf.data graph. `start` says where in the recording the clip begins, 0 the first place and 1
      behind the last. The clip holds either `video`, uint8 or float32 [T h w C] in [0, 255], or
      what a model is fed with as it stands (`codes`); besides, `label` int32 [] and `actions`
      float32 [T A] where the source has them.
    class_names: of the labels, or None.
    action_dim: size of an action (A), or None.
    lengths: int [n], frames of each recording, or None where clips are generated.
    skipped: one line a recording that cannot be used: which, and why.
  """

  n: int
  read: Callable[[tf.Tensor, tf.Tensor], Mapping[str, tf.Tensor]]
  class_names: tuple[str, ...] | None = None
  action_dim: int | None = None
  lengths: np.ndarray | None = None
  skipped: tuple[str, ...] = ()


_N_NAMED = 20  # skipped recordings that a message names; there may be thousands


def tell_skipped(path, skipped, n_usable: int):
  """Warns of recordings that are left out.

  Args:
    path: of the data set.
    skipped: one line a recording.
    n_usable: how many are left.
  Raises:
    ValueError: none is left.
  """
  more = f'; and {len(skipped) - _N_NAMED} more' if len(skipped) > _N_NAMED else ''
  reasons = '; '.join(skipped[:_N_NAMED]) + more
  if not n_usable:
    raise ValueError(f'{path} holds no usable clip: {reasons or "it is empty"}')
  if skipped:
    _log.warning('%s: skipped %d of %d: %s', path, len(skipped), n_usable + len(skipped), reasons)


def window(start, n_frames, length: int, frame_skip: int = 1):
  """The frames that a clip takes from a recording.

  Args:
    start: float32 [] in [0, 1).
    n_frames: int [], of the recording; at least (length - 1) * frame_skip + 1.
    length: frames of the clip (T).
    frame_skip: distance of two frames.
  Returns:
    int32 [T], in [0, n_frames).
  """
  places = tf.cast(n_frames, tf.int32) - (length - 1) * frame_skip
  first = tf.cast(start * tf.cast(places, tf.float32), tf.int32)
  return tf.minimum(first, places - 1) + tf.range(length) * frame_skip


def resize_and_crop(video, resolution: int, antialias: bool = False):
  """Resizes the shorter side to `resolution`, then crops the longer one about the centre.

  Bilinear with half-pixel centres. The longer side is rounded up, an odd margin leaves its extra
  pixel at the bottom or right.

  Args:
    video: uint8 or float32 [T h w C], h and w possibly unknown until run.
    resolution: H = W.
    antialias: filter before scaling down.
  Returns:
    float32 [T resolution resolution C], in the input's range.
  Source: the published implementation's preprocessing, whose outputs the tests compare with.
  """
  video = tf.cast(video, tf.float32)
  if video.shape[1] != resolution or video.shape[2] != resolution:
    size = tf.shape(video)[1:3]
    size = -(-size * resolution // tf.reduce_min(size))
    video = tf.image.resize(video, size, 'bilinear', antialias=antialias)
    top, left = tf.unstack((size - resolution) // 2)
    video = video[:, top : top + resolution, left : left + resolution]
  return tf.ensure_shape(video, (None, resolution, resolution, None))


def to_model_range(video):
  """float32 [T H W C] in [0, 255], C 1 or 3 -> float32 [T H W 3] in [-0.5, 0.5]."""
  return tf.broadcast_to(video / 255 - 0.5, (*video.shape[:-1], 3))


def decode_images(images, n_channels: int):
  """PNG or JPEG files, string [T], to uint8 [T h w C]."""
  video = tf.map_fn(
    lambda image: tf.io.decode_image(image, n_channels, expand_animations=False),
    images,
    fn_output_signature=tf.TensorSpec((None, None, n_channels), tf.uint8),
  )
  return tf.ensure_shape(video, (images.shape[0], None, None, n_channels))
