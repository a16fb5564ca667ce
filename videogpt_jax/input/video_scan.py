"""The first look at a video file: its frames, by reading packets, without decoding their pixels.

Files whose packets do not tell are decoded from the first frame to the last.
"""

import os

import av
import numpy as np
from av.video.stream import VideoStream

from videogpt_jax.input import faults, heartbeat
from videogpt_jax.input.ending import missing_bytes
from videogpt_jax.input.film import (
  aspect_of,
  decode,
  file_of,
  is_interlaced,
  open_film,
  packets_of,
)
from videogpt_jax.input.packets import units_of
from videogpt_jax.input.picture import shown_size
from videogpt_jax.input.recording import BrokenRecordingError, changes_size
from videogpt_jax.input.video_file import VideoFile

_TELLING = ('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'mpegts', 'flv')
"""Containers with the time at which each frame is shown. Others have it where no frame is stored
before one that is shown earlier."""

_SEEKABLE = (*_TELLING, 'asf', 'avi', 'nut')
"""Containers where decoding from a key frame gives each frame its own time stamp. In others, such
as MPEG-1's, stamps may be one frame late after a jump."""

_A_FRAME_A_PACKET = {
  *('h264', 'hevc', 'vp9', 'av1', 'mpeg4', 'mpeg1video', 'mpeg2video', 'h263', 'flv1'),
  *('mjpeg', 'prores', 'gif', 'wmv1', 'wmv2', 'ffv1'),
}
"""Codecs that keep one frame, and always one, in each packet."""

_DESCRIBED = _TELLING[:2], ('h264', 'hevc', 'vp9', 'av1')
"""Containers and codecs whose headers, or first frame, tell what FFmpeg decodes others for."""

_HDR = {16: 'PQ', 18: 'HLG'}  # AVColorTransferCharacteristic


def scan(address: str | os.PathLike, name: str = '', *, partly: bool = False) -> VideoFile:
  """Returns the recording in a video file.

  Args:
    address: path, or FFmpeg's address of a part of a file.
    name: unique in its data set; the address by default.
    partly: whether a file that breaks off is a recording of the frames before, with a `fault`.
  Raises:
    BrokenRecordingError: the file is no video, not one frame can be decoded, or it breaks off.
  """
  address = os.fspath(address)
  with faults.told('decoding fails after 0 frames'):
    if not os.stat(file_of(address)).st_size:
      raise BrokenRecordingError('empty file')
    found = _by_packets(address) or _by_decoding(address)
    found['fault'] = found.get('fault') or _cut_short(address, len(found['stamps']))
  if found['fault'] and not partly:
    raise BrokenRecordingError(found['fault'])
  return VideoFile(address, name or address, **found)


def _cut_short(address, n) -> str:
  """Returns what to say of a file that ends before its container does, or ''."""
  if file_of(address) != address or not (missing := missing_bytes(address)):
    return ''
  with open_film(address) as stream:
    if 0 < stream.frames <= n:
      return ''  # an index at the end may be missing
  return f'cut short after {n} frames ({missing:,} bytes are missing)'


def _by_packets(address):
  """Returns what the packets tell, as fields of VideoFile; None if they do not."""
  with open_film(address, by_headers=True) as stream:
    containers, codecs = _DESCRIBED
    in_headers = stream.container.format.name in containers and stream.width
    if in_headers and stream.codec_context.codec.canonical_name in codecs:
      return _of_packets(stream)
  with open_film(address) as stream:
    return _of_packets(stream)


def _of_packets(stream):
  context, container = stream.codec_context, stream.container
  telling = container.format.name in _TELLING or not context.has_b_frames
  if context.codec.canonical_name not in _A_FRAME_A_PACKET or not telling:
    return None
  if is_interlaced(stream):
    return None
  units, stamps, keys, first, n = units_of(stream), [], [], None, 0
  for packet in packets_of(stream):
    heartbeat.beat()
    stamp, is_key = packet.pts, packet.is_keyframe
    n += packet.size > 0
    if not packet.size or not (is_key or first):
      continue  # what comes before the first key frame cannot be decoded
    if stamp is None or packet.is_corrupt or not units.add(packet):
      return None
    if first is None:
      first = _decoded(packet, stream)
      if first is None or first.interlaced_frame:
        return None
    # Frames shown before the first key frame depend on what is not there.
    if stamp >= first.pts and not packet.is_discard:
      stamps.append(stamp)
      if is_key:
        keys.append(stamp)
  missing = 'mov' in container.format.name and stream.frames > n
  if missing or not stamps or len(set(stamps)) < len(stamps) or units.n_variants > 1:
    return None
  stamps, keys = np.sort(stamps), np.sort(keys)
  if first.pts != stamps[0]:
    return None
  return _about(stream) | {
    'stamps': stamps,
    'keys': keys if container.format.name in _SEEKABLE else keys[:1],
    'size': shown_size(first, aspect_of(stream)),
  }


def _decoded(packet: av.Packet, stream: VideoStream) -> av.VideoFrame | None:
  """Returns the frame in the packet of a key frame, without waiting for the next ones."""
  frames = [*packet.decode(), *stream.decode(None)]
  stream.codec_context.flush_buffers()
  return frames[0] if frames else None


def _by_decoding(address):
  """Returns the fields of VideoFile, from all frames up to the end or the first fault."""
  stamps, keys, sizes, fault, interlaced = [], [], {}, '', False
  with open_film(address) as stream:
    fields = _about(stream)
    try:
      for stamp, frame in decode(stream, to_the_last=False):
        stamps.append(stamp)
        if frame.key_frame:
          keys.append(stamp)
        key = (frame.width, frame.height, frame.rotation)
        if key not in sizes:  # see picture.Pictures
          sizes[key] = shown_size(frame, aspect_of(stream))
        interlaced = interlaced or frame.interlaced_frame
    except faults.FAULTS as error:
      fault = f'decoding fails after {len(stamps)} frames ({faults.reason(error)})'
    n_whole = stream.frames if 'mov' in stream.container.format.name else 0
    tick, rate = float(stream.time_base or 0), float(stream.average_rate or 25)
    seekable = stream.container.format.name in _SEEKABLE
  if not stamps:
    raise BrokenRecordingError(fault or 'no frames')
  if not fault and len(stamps) < n_whole:
    fault = f'cut short: {len(stamps)} of {n_whole} frames'
  own = None not in stamps and tick and (np.diff(stamps) > 0).all()
  if not own:
    stamps, keys, tick = range(len(stamps)), (), 1 / rate
  sizes = list(dict.fromkeys(sizes.values()))
  if len(sizes) > 1:
    fields['remarks'] += (changes_size((w, h) for h, w in sizes),)
  if interlaced:
    fields['remarks'] += ('interlaced; it is deinterlaced',)
  return fields | {
    'stamps': np.array(stamps, np.int64),
    'tick': tick,
    'keys': np.array(keys if seekable else keys[:1], np.int64),
    'size': sizes[0] if len(sizes) == 1 else None,
    'interlaced': interlaced,
    'fault': fault,
  }


def _about(stream: VideoStream) -> dict:
  """Returns the fields of VideoFile that opening a file tells."""
  remarks = ()
  if hdr := _HDR.get(stream.codec_context.color_trc):
    remarks += (f'HDR ({hdr}); it is read without tone mapping, and looks pale',)
  return {'tick': float(stream.time_base or 0), 'remarks': remarks}
