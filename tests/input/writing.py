"""Writes small videos and shards whose frames can be told by their brightness."""

import pathlib
from fractions import Fraction

import av
import numpy as np
import tensorflow as tf


def write_video(path: pathlib.Path, n_frames=8, height=36, width=48, stamps=None, codec='mpeg4'):
  """A video whose frame i has brightness 10 * i and is shown at stamps[i] tenths of a second."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=10)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.codec_context.time_base = Fraction(1, 10)
    for i in range(n_frames):
      image = np.full((height, width, 3), 10 * i % 256, np.uint8)
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      frame.pts, frame.time_base = stamps[i] if stamps else i, Fraction(1, 10)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def write_shard(
  path: pathlib.Path, lengths=(5, 7, 6), first=0, encode=np.ndarray.tobytes, n_actions=None
):
  """Records of some frames: frame i of record r is [4 6 3] of brightness 10 r + i."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with tf.io.TFRecordWriter(str(path)) as writer:
    for r, length in enumerate(lengths, start=first):
      images = [encode(np.full((4, 6, 3), 10 * r + i, np.uint8)) for i in range(length)]
      actions = np.arange(n_actions or 2 * length) + 100 * r
      features = {
        'frames': tf.train.Feature(bytes_list=tf.train.BytesList(value=images)),
        'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=[4, 6, 3])),
        'label': tf.train.Feature(int64_list=tf.train.Int64List(value=[r % 2])),
        'actions': tf.train.Feature(float_list=tf.train.FloatList(value=actions)),
      }
      example = tf.train.Example(features=tf.train.Features(feature=features))
      writer.write(example.SerializeToString())
  return path
