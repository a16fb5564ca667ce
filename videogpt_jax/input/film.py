"""Opens video files with PyAV: which stream is the film, and its decoded frames."""

import contextlib
import fractions
import functools
import os
from collections.abc import Collection, Iterator

import av
from av.stream import Disposition
from av.video.stream import VideoStream

from videogpt_jax.input import heartbeat
from videogpt_jax.input.recording import BrokenRecordingError

Frames = Iterator[tuple[int | None, av.VideoFrame]]
"""Frames in the order in which they are shown, each with its time stamp."""

_NOT_FILMS = Disposition.attached_pic | Disposition.timed_thumbnails

_SUBFILE = 'subfile,,'  # a part of a file, to FFmpeg

_BRIEF, _NO_FRAMES = {'analyzeduration': '100000'}, {'skip_frame': 'all'}
"""Options of a file and of its streams that keep FFmpeg from decoding while it opens."""

_STREAMS = 8  # that these options reach; others are opened as usual

_INTERLACED = range(2, 6)
"""Values of AVFieldOrder that tell of two fields a frame."""


def file_of(address: str) -> str:
  """Returns the path of the file that an address names, or names a part of."""
  return address.split(',:', 1)[1] if address.startswith(_SUBFILE) else address


@contextlib.contextmanager
def open_film(address: str, by_headers: bool = False) -> Iterator[VideoStream]:
  """Opens the film in a file; its `container` is open meanwhile.

  Args:
    address: a path, or FFmpeg's address of a part of a file, 'subfile,,start,0,end,99,,:PATH'.
    by_headers: whether FFmpeg decodes no frame to learn what headers leave out, which takes most of
      the time of opening.
  Raises:
    BrokenRecordingError: there is no film in it, or nothing here decodes it.
    av.FFmpegError, OSError: it cannot be opened.
  """
  if not address.startswith(_SUBFILE):
    address = os.path.abspath(address)  # 'a:b.mp4' is no address of a network
  with _opened(address, by_headers) as container:
    stream = _film(container)
    stream.codec_context.thread_count = 1  # clips are decoded in parallel already
    yield stream


def _opened(address, by_headers):
  options = {'protocol_whitelist': 'file,subfile'}  # playlists must not fetch
  opened = functools.partial(av.open, address, metadata_errors='replace')
  if by_headers:
    with contextlib.suppress(ValueError):  # MPEG's have no header that names streams
      return opened(options=options | _BRIEF, stream_options=[_NO_FRAMES] * _STREAMS)
  return opened(options=options)


def _film(container) -> VideoStream:
  """Returns the stream that a player shows: no cover picture, the default one, the largest."""
  films = [stream for stream in container.streams.video if not stream.disposition & _NOT_FILMS]
  pictures = container.format.name in ('tty', 'image2') or container.format.name.endswith('_pipe')
  if not films or pictures:  # FFmpeg draws text
    raise BrokenRecordingError('no video stream')
  known = [stream for stream in films if stream.codec_context is not None]
  if not known:
    raise BrokenRecordingError('no decoder knows its codec; convert it, such as to H.264')
  default = lambda stream: bool(stream.disposition & Disposition.default)
  return max(known, key=lambda s: (s.frames != 1, default(s), s.width * s.height))


def aspect_of(stream: VideoStream) -> fractions.Fraction:
  """Returns the width of a pixel by its height."""
  return stream.sample_aspect_ratio or fractions.Fraction(1)


def is_interlaced(stream: VideoStream) -> bool:
  """Returns whether the container or the parser says that a frame holds two fields."""
  return stream.codec_context.field_order in _INTERLACED


def packets_of(stream: VideoStream) -> Iterator[av.Packet]:
  """Yields the packets of a film from where its container stands, and an empty one at its end.

  Where another stream has begun late, as in broadcasts, PyAV (18.1) may look for it in vain after
  these.
  """
  with contextlib.suppress(IndexError):
    yield from stream.container.demux(stream)


def decode(
  stream: VideoStream,
  start: int | None = None,
  needed: Collection[int] = (),
  to_the_last: bool = True,
) -> Frames:
  """Yields the frames of a film.

  Packets before the first frame may fail: a recording of a broadcast begins anywhere.

  Args:
    stream: opened with `open_film`; decoded once only.
    start: time stamp of the key frame to begin at; None is the first frame.
    needed: time stamps of the frames that are needed, if not all are. Others, which no frame
      depends on, are left out, and so is what follows the needed ones.
    to_the_last: whether to yield, where a packet cannot be decoded, also the frames that the
      decoder still holds back, after which others may be missing.
  Raises:
    av.FFmpegError: a packet cannot be decoded.
  """
  container, context = stream.container, stream.codec_context
  packets = packets_of(stream)
  if start is not None:
    if _has_a_head(context):
      next(packets).decode()
    container.seek(start, stream=stream)
    packets = packets_of(stream)
  fault, begun, missing = None, False, set(needed)
  # dav1d takes the first value for all frames, and would never give those that are left out.
  may_skip = context.codec.canonical_name != 'av1'
  for packet in packets:
    heartbeat.beat()
    if needed and packet.pts is not None:
      if may_skip:
        context.skip_frame = 'NONE' if packet.pts in needed else 'NONREF'
      missing.discard(packet.pts)
    complete = needed and not missing
    try:
      frames = packet.decode()
      if complete:
        frames += stream.decode(None)
    except av.FFmpegError as error:
      if not begun:
        continue
      fault, frames = error, stream.decode(None) if to_the_last else []
    begun = begun or bool(frames)
    frames.reverse()
    while frames:  # none is kept here: they may be large
      yield _stamped(frames.pop())
    if fault:
      raise fault
    if complete:
      return


def _stamped(frame):
  return frame.pts, frame


def _has_a_head(context) -> bool:
  """Returns whether the first packet may hold what later ones need to be decoded rightly.

  x264's version is in it, which decides how old 4:4:4 streams are decoded, and so is that of
  encoders of MPEG-4.
  """
  return '444' in (context.pix_fmt or '') or context.codec.canonical_name == 'mpeg4'


def deinterlace(stream: VideoStream, frames: Frames) -> Frames:
  """Yields the frames with the second field of those that are interlaced made up (yadif)."""
  graph, shape = None, None
  for _, frame in frames:
    if shape != (frame.width, frame.height, frame.format.name):
      yield from _drain(graph, stream)
      shape = (frame.width, frame.height, frame.format.name)
      graph = _yadif(stream, frame)
    graph.push(frame)
    yield from _pull(graph, stream)
  yield from _drain(graph, stream)


def _yadif(stream, frame):
  graph = av.filter.Graph()
  graph.threads = 1
  nodes = (
    graph.add_buffer(
      width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base
    ),
    graph.add('yadif', 'deint=interlaced'),
    graph.add('buffersink'),
  )
  graph.link_nodes(*nodes).configure()
  return graph


def _drain(graph, stream):
  if graph:
    graph.push(None)
    yield from _pull(graph, stream)


def _pull(graph, stream):
  with contextlib.suppress(av.BlockingIOError, av.EOFError):
    while True:
      frame = graph.pull()
      pts = frame.pts  # yadif counts in half the unit
      yield pts and round(pts * frame.time_base / stream.time_base), frame
