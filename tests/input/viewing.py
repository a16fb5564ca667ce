"""What a viewer sees, by FFmpeg's own filters: the reference for pixels."""

import contextlib
import itertools
import math
from collections.abc import Iterator

import av
import numpy as np

_MATRICES = {1: 'bt709', 4: 'fcc', 7: 'smpte240m', 9: 'bt2020', 10: 'bt2020'}


def as_ffmpeg_shows(path, stream=0, background='white') -> Iterator[np.ndarray]:
  """Yields each frame, uint8 [h w 3], as this command writes it to a file of rgb24:

    ffmpeg -i PATH -vf [yadif=deint=interlaced,]scale=iw*sar:ih,setsar=1 -pix_fmt rgb24

  which first turns the frame (fftools/ffmpeg_filter.c, after get_rotation). A transparent frame is
  laid over a `background`: color=BACKGROUND, overlay=format=rgb.
  """
  with av.open(str(path), metadata_errors='replace') as container:
    stream = container.streams.video[stream]
    deinterlaces = av.filter.Graph()
    _link(deinterlaces, _source(deinterlaces, stream), [('yadif', 'deint=interlaced')])
    for frame in _through(deinterlaces, _decoded(container, stream)):
      aspect = float(stream.sample_aspect_ratio or 1)
      frame.pts = 0  # the background begins there
      yield next(_through(_viewer(frame, aspect, background), [frame])).to_ndarray()


def _decoded(container, stream):
  """Yields frames as far as they can be decoded."""
  with contextlib.suppress(av.InvalidDataError):
    yield from container.decode(stream)


def _viewer(frame, aspect, background):
  """Returns the graph for one frame. Matrix and range are said, as PyAV's source hands on none."""
  graph, turns = av.filter.Graph(), _turns(frame)
  shape = (frame.height, int(frame.width * aspect))
  if turns and turns[0][0] == 'transpose':
    shape = shape[::-1]
  size = f'{shape[1]}:{shape[0]}'
  levels = 'full' if frame.color_range == 2 or frame.format.name.startswith('yuvj') else 'limited'
  if not frame.format.is_rgb:
    size += f':in_color_matrix={_MATRICES.get(frame.colorspace, "bt601")}:in_range={levels}'
  chain = [*turns, ('scale', size)]
  if not (frame.format.name == 'pal8' or any(c.is_alpha for c in frame.format.components)):
    return _link(graph, _source(graph, frame), [*chain, ('format', 'rgb24')])
  front = _source(graph, frame)
  for name, args in [*chain, ('format', 'rgba')]:
    following = graph.add(name, args)
    front.link_to(following)
    front = following
  ground, over = (
    graph.add('color', f'{background}:{shape[1]}x{shape[0]}'),
    graph.add('overlay', 'format=rgb'),
  )
  ground.link_to(over, 0, 0)
  front.link_to(over, 0, 1)
  return _link(graph, over, [('format', 'rgb24')])


def _source(graph, of):
  graph.threads = 1
  return graph.add_buffer(
    width=of.width, height=of.height, format=of.format, time_base=of.time_base
  )


def _link(graph, node, chain):
  for name, args in [*chain, ('buffersink', None)]:
    following = graph.add(name, args)
    node.link_to(following)
    node = following
  graph.configure()
  return graph


def _through(graph, frames):
  for frame in itertools.chain(frames, [None]):
    graph.push(frame)
    with contextlib.suppress(av.BlockingIOError, av.EOFError):
      while True:
        yield graph.pull()


def _turns(frame):
  matrix = frame.side_data.get('DISPLAYMATRIX')
  if matrix is None:
    return []
  matrix = np.frombuffer(matrix, np.int32)
  theta = -round(frame.rotation)
  theta -= 360 * math.floor(theta / 360 + 0.9 / 360)
  if abs(theta - 90) < 1:
    return [('transpose', 'cclock_flip' if matrix[3] > 0 else 'clock')]
  if abs(theta - 180) < 1:
    return [(name, None) for name, i in (('hflip', 0), ('vflip', 4)) if matrix[i] < 0]
  if abs(theta - 270) < 1:
    return [('transpose', 'clock_flip' if matrix[3] < 0 else 'cclock')]
  return [('vflip', None)] if matrix[4] < 0 else []
