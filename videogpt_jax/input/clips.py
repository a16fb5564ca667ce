"""The form that every source gives its clips, and what turns a recording into a clip.

Letters: T H W frames, height, width of a clip; h w height and width of a recording; C colour.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Container, Mapping

import numpy as np
import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.resize import fitted_size

_log = logging.getLogger(__name__)

# Leaves the accelerators to JAX. Fails where the program has used TensorFlow already.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], 'GPU')
  tf.config.set_visible_devices([], 'TPU')


@dataclasses.dataclass(frozen=True)
class Clips:
  """One split of a data set: clips by number.

  Attributes:
    n: number of recordings.
    read: (index int64 [] in [0, n), start float32 [] in [0, 1)) -> the clip, as tensors, inside a
      tf.data graph. `start` is the position of the clip in the recording: 0 is the first possible
      one, 1 lies behind the last. A clip has either `video`, uint8 or float32 [T h w C] in
      [0, 255], or `codes`, which are passed on unchanged; and, where the source has them, `label`
      int32 [] and `actions` float32 [T A]. A uint8 video whose static shape is that of the frames
      asked for is passed on as uint8.
    class_names: names of the labels, or None.
    action_dim: size of an action (A), or None.
    action_names: of the choices, where actions are one-hot; else ().
    lengths: int [n], number of frames of each recording; None where clips are generated.
    skipped: one line for each recording that cannot be used, with the reason.
    frame_rate: frames a second of most clips, or 0 where it is unknown.
  """

  n: int
  read: Callable[[tf.Tensor, tf.Tensor], Mapping[str, tf.Tensor]]
  class_names: tuple[str, ...] | None = None
  action_dim: int | None = None
  lengths: np.ndarray | None = None
  skipped: tuple[str, ...] = ()
  frame_rate: float = 0.0
  action_names: tuple[str, ...] = ()


def resolve(split: str, there: Container[str]) -> str:
  """Returns a split's name: where only one of val and test is there, either name means it."""
  return split if split in there else {'val': 'test', 'test': 'val'}.get(split, split)


_N_NAMED = 20  # skipped recordings in a message; there may be thousands


def tell_skipped(path, skipped, n_usable: int):
  """Logs a warning about recordings that are left out.

  Args:
    path: path of the data set.
    skipped: one line for each recording.
    n_usable: number of recordings that are left.
  Raises:
    UserError: none is left.
  """
  more = f'; and {len(skipped) - _N_NAMED} more' if len(skipped) > _N_NAMED else ''
  reasons = '; '.join(skipped[:_N_NAMED]) + more
  if not n_usable:
    raise UserError(f'{path} holds no usable clip: {reasons or "it is empty"}')
  if skipped:
    _log.warning('%s: skipped %d of %d: %s', path, len(skipped), n_usable + len(skipped), reasons)


def window(start, n_frames, length: int, frame_skip: int = 1):
  """Returns the frames of a recording that make up a clip.

  Args:
    start: float32 [] in [0, 1).
    n_frames: int [], length of the recording; at least (length - 1) * frame_skip + 1.
    length: frames of the clip (T).
    frame_skip: distance between two frames.
  Returns:
    int32 [T], in [0, n_frames).
  """
  places = tf.cast(n_frames, tf.int32) - (length - 1) * frame_skip
  first = tf.cast(start * tf.cast(places, tf.float32), tf.int32)
  return tf.minimum(first, places - 1) + tf.range(length) * frame_skip


def resize_and_crop(
  video, size: tuple[int, int], antialias: bool = False, fit: str = 'crop', position=None
):
  """Resizes frames to cover `size`, then crops them about the centre; or as `fit` says.

  Bilinear with half-pixel centres. An odd margin leaves its extra pixel at the bottom or right.

  Args:
    video: uint8 or float32 [T h w C], h and w possibly unknown until run.
    size: (H, W).
    antialias: filter before scaling down.
    fit: one of `videogpt_jax.framing.FITS`.
    position: float32 [2] in [0, 1), where to crop instead: down and right of all possible places.
  Returns:
    float32 [T H W C] in the input's range; the input itself where its static shape is that already.
  Source: the published preprocessing, see `videogpt_jax.resize`.
  """
  if tuple(video.shape[1:3]) == size:
    return video
  height, width = video.shape[1:3]
  if height and width:
    fitted = fitted_size(height, width, size, fit)
  else:
    fitted = tf.numpy_function(
      lambda shape: np.int32(fitted_size(*shape.tolist(), size, fit)),
      [tf.shape(video)[1:3]],
      tf.int32,
      stateful=False,
    )
    fitted = tf.ensure_shape(fitted, (2,))
  video = tf.image.resize(video, fitted, 'bilinear', antialias=antialias)
  if fit == 'pad':
    top, left = (size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2
    video = tf.image.pad_to_bounding_box(video, top, left, *size)
  else:
    margin = fitted[0] - size[0], fitted[1] - size[1]
    if position is None:
      top, left = margin[0] // 2, margin[1] // 2
    else:
      places = tf.cast(tf.stack(margin) + 1, tf.float32)
      top, left = tf.unstack(tf.cast(position * places, tf.int32))
    video = video[:, top : top + size[0], left : left + size[1]]
  return tf.ensure_shape(tf.cast(video, tf.float32), (None, *size, None))


def for_model(video):
  """[T H W C] with C 1 or 3 -> [T H W 3]: uint8 as it is, float32 from [0, 255] to [-0.5, 0.5]."""
  if video.dtype != tf.uint8:
    video = video / 255 - 0.5
  return tf.broadcast_to(video, (*video.shape[:-1], 3))


def decode_images(images, n_channels: int):
  """Decodes PNG or JPEG files, string [T], to uint8 [T h w C]."""
  video = tf.map_fn(
    lambda image: tf.io.decode_image(image, n_channels, expand_animations=False),
    images,
    fn_output_signature=tf.TensorSpec((None, None, n_channels), tf.uint8),
  )
  return tf.ensure_shape(video, (images.shape[0], None, None, n_channels))
