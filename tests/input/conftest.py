"""Videos and shards to read."""

import pathlib
from fractions import Fraction

import av
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def write_video():
  """Writes a video whose frame i has brightness 10 * i, shown at `stamps[i]` / 10 seconds."""

  def write(path: pathlib.Path, n_frames=8, height=36, width=48, stamps=None, codec='mpeg4'):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
      stream = container.add_stream(codec, rate=10)
      stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
      stream.codec_context.time_base = Fraction(1, 10)
      for i in range(n_frames):
        image = np.full((height, width, 3), 10 * i, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts, frame.time_base = stamps[i] if stamps else i, Fraction(1, 10)
        container.mux(stream.encode(frame))
      container.mux(stream.encode())
    return path

  return write


@pytest.fixture
def write_shard():
  """Writes records of some frames: frame i of record r is [4 6 3] of brightness 10 r + i."""

  def write(path: pathlib.Path, lengths=(5, 7, 6), first=0, encode=np.ndarray.tobytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
      for r, length in enumerate(lengths, start=first):
        images = [np.full((4, 6, 3), 10 * r + i, np.uint8) for i in range(length)]
        features = {
          'frames': tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[encode(image) for image in images])
          ),
          'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=[4, 6, 3])),
          'label': tf.train.Feature(int64_list=tf.train.Int64List(value=[r % 2])),
          'actions': tf.train.Feature(
            float_list=tf.train.FloatList(value=np.arange(2 * length) + 100 * r)
          ),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())
    return path

  return write
