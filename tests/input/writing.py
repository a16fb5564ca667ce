"""Writes small videos and shards whose frames can be told by their brightness."""

import io
import json
import pathlib
import tarfile
from fractions import Fraction

import av
import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image


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


def write_frames(
  path: pathlib.Path,
  frames,
  codec='libx264',
  form='yuv420p',
  source='rgb24',
  options=None,
  prepare=None,
  rate=10,
):
  """A video of frames [h w C] of the format `source`, stored as `form`.

  `prepare` may set what else the stream says.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    quick = {'preset': 'ultrafast', 'crf': '12'} if codec == 'libx264' else {}
    stream = container.add_stream(codec, rate=rate, options=quick | (options or {}))
    stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], form
    if prepare:
      prepare(stream)
    for image in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=source)))
    container.mux(stream.encode())
  return path


def write_shard(
  path: pathlib.Path,
  lengths=(5, 7, 6),
  first=0,
  encode=np.ndarray.tobytes,
  n_actions=None,
  actions=None,
):
  """Records of some frames: frame i of record r is [4 6 3] of brightness 10 r + i."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with tf.io.TFRecordWriter(str(path)) as writer:
    for r, length in enumerate(lengths, start=first):
      images = [encode(np.full((4, 6, 3), 10 * r + i, np.uint8)) for i in range(length)]
      stored = np.arange(n_actions or 2 * length) + 100 * r if actions is None else actions.ravel()
      features = {
        'frames': tf.train.Feature(bytes_list=tf.train.BytesList(value=images)),
        'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=[4, 6, 3])),
        'label': tf.train.Feature(int64_list=tf.train.Int64List(value=[r % 2])),
        'actions': tf.train.Feature(float_list=tf.train.FloatList(value=stored)),
      }
      example = tf.train.Example(features=tf.train.Features(feature=features))
      writer.write(example.SerializeToString())
  return path


def grey_frames(n, first=0, size=(6, 8)):
  """Frame i of uint8 [n h w 3] has brightness 10 (first + i)."""
  values = 10 * (first + np.arange(n, dtype=np.uint8))
  return np.broadcast_to(values[:, None, None, None], (n, *size, 3)).copy()


def write_images(folder, numbers, pattern='{}.png', first=0):
  folder.mkdir(parents=True, exist_ok=True)
  for i, n in enumerate(numbers):
    Image.fromarray(grey_frames(1, first + i)[0]).save(folder / pattern.format(n))


def write_demos(path, n=3, cameras=('front', 'wrist'), masks=True, n_frames=4):
  with h5py.File(path, 'w') as file:
    for i in range(n):
      for c, camera in enumerate(cameras):
        file[f'data/demo_{i}/obs/{camera}_image'] = grey_frames(n_frames, 5 * i + c)
      file[f'data/demo_{i}/actions'] = np.full((n_frames, 2), i, np.float32)
    if masks:
      file['mask/train'] = [b'demo_0', b'demo_2']
      file['mask/valid'] = [b'demo_1']


def write_tar(path, files):
  with tarfile.open(path, 'w') as tar:
    for name, content in files.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))


def write_lerobot(root, n_episodes, length=9, videos=False):
  """A folder of version 2.1 with images in its tables, or a video of each episode."""
  pa = pytest.importorskip('pyarrow', reason='the optional pyarrow is not installed')
  import pyarrow.parquet as pq

  (root / 'meta').mkdir(parents=True)
  (root / 'data/chunk-000').mkdir(parents=True)
  feature = {
    'dtype': 'video' if videos else 'image',
    'shape': [6, 8, 3],
    'names': ['height', 'width', 'channel'],
  }
  info = {
    'codebase_version': 'v2.1',
    'total_episodes': n_episodes,
    'chunks_size': 1000,
    'fps': 5,
    'splits': {'train': f'0:{n_episodes - 1}', 'test': f'{n_episodes - 1}:{n_episodes}'},
    'data_path': 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
    'video_path': 'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4'
    if videos
    else None,
    'features': {
      'observation.image': feature,
      'action': {'dtype': 'float32', 'shape': [2], 'names': None},
    },
  }
  (root / 'meta/info.json').write_text(json.dumps(info))
  lines = []
  for e in range(n_episodes):
    table = {
      'action': [[float(e), float(t)] for t in range(length)],
      'frame_index': list(range(length)),
      'episode_index': [e] * length,
    }
    if videos:
      where = {'episode_chunk': 0, 'video_key': 'observation.image', 'episode_index': e}
      write_frames(root / info['video_path'].format(**where), grey_frames(length, e), rate=5)
    else:
      images = []
      for frame in grey_frames(length, e):
        Image.fromarray(frame).save(content := io.BytesIO(), 'PNG')
        images.append({'bytes': content.getvalue(), 'path': None})
      table['observation.image'] = images
    path = root / info['data_path'].format(episode_chunk=0, episode_index=e)
    pq.write_table(pa.table(table), path, row_group_size=1)  # more groups than a reader keeps
    lines.append(json.dumps({'episode_index': e, 'tasks': ['go'], 'length': length}))
  (root / 'meta/episodes.jsonl').write_text('\n'.join(lines))
