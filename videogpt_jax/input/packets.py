"""What packets hold, without decoding: the NAL units of H.264 and H.265, sizes in VP9 and JPEG.

A file that was allocated but not filled, or overwritten in part, has packets whose units do not add
up. New parameters in the middle may change the size of the frames.
"""

import av
from av.video.stream import VideoStream

_SIZE_OF_LENGTH = {'h264': 4, 'hevc': 21}
"""Place in a stream's extra data of the number of bytes of a unit's length, less one."""

_MARK = b'\0\0\1'  # before each unit, where their lengths are not written
_LOOK = 1024  # bytes of a packet in which parameters are looked for


_VP9 = b'\x49\x83\x42'  # in the head of a key frame, before its colours and its size
_JPEG_SIZES = {0xC0, 0xC1, 0xC2}  # segments with the size of a picture


class Units:
  """The units in a stream's packets; one that does not know the codec takes all for sound."""

  def __init__(self, codec: str = '', length_bytes: int = 0):
    self._codec, self._length_bytes = codec, length_bytes
    self._variants: set[bytes] = set()

  @property
  def n_variants(self) -> int:
    """Number of different parameters in the packets so far."""
    return len(self._variants)

  def add(self, packet: av.Packet) -> bool:
    """Looks through a packet and returns whether it is sound."""
    if not self._codec:
      return True
    if self._codec in _SIZES:
      if packet.is_keyframe:
        self._variants.add(_SIZES[self._codec](bytes(memoryview(packet)[:_LOOK])))
      return True
    if self._length_bytes:
      return self._add_by_length(memoryview(packet))
    if packet.is_keyframe:
      self._add_marked(bytes(memoryview(packet)[:_LOOK]))
    return True

  def _add_by_length(self, data):
    place, n, end = 0, self._length_bytes, len(data)
    while place + n < end:
      begin = place + n
      place = begin + int.from_bytes(data[place:begin], 'big')
      if self._holds_parameters(data[begin]):
        self._variants.add(bytes(data[begin : min(place, begin + _LOOK)]))
    return place == end

  def _add_marked(self, data):
    for unit in data.split(_MARK)[1:-1]:  # the last one may be cut
      if unit and self._holds_parameters(unit[0]):
        self._variants.add(unit.rstrip(b'\0'))

  def _holds_parameters(self, head):
    return head & 31 == 7 if self._codec == 'h264' else head >> 1 & 63 == 33


def _of_vp9(head) -> bytes:
  place = head.find(_VP9) + len(_VP9)
  return head[place : place + 4]  # four bits of colours, the width, most of the height


def _of_jpeg(head) -> bytes:
  place = 2
  while place + 9 <= len(head):
    if head[place + 1] in _JPEG_SIZES:
      return head[place + 5 : place + 9]
    place += 2 + int.from_bytes(head[place + 2 : place + 4], 'big')
  return b''


_SIZES = {'vp9': _of_vp9, 'mjpeg': _of_jpeg}
"""What to compare of the beginning of a packet: what differs where the size of frames does."""


def units_of(stream: VideoStream) -> Units:
  """Returns what looks through the packets of a stream."""
  codec = stream.codec_context.codec.canonical_name
  if codec in _SIZES:
    return Units(codec)
  if codec not in _SIZE_OF_LENGTH:
    return Units()
  extra, place = stream.codec_context.extradata or b'', _SIZE_OF_LENGTH[codec]
  written = extra[:1] == b'\1' and len(extra) > place
  return Units(codec, (extra[place] & 3) + 1 if written else 0)
