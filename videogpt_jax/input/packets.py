"""What the packets of H.264 and H.265 hold, without decoding: NAL units.

A file that was allocated but not filled, or overwritten in part, has packets whose units do not add
up. New parameters in the middle may change the size of the frames.
"""

import av
from av.video.stream import VideoStream

_SIZE_OF_LENGTH = {'h264': 4, 'hevc': 21}
"""Place in a stream's extra data of the number of bytes of a unit's length, less one."""

_MARK = b'\0\0\1'  # before each unit, where their lengths are not written
_LOOK = 512  # bytes of a packet in which parameters are looked for


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


def units_of(stream: VideoStream) -> Units:
  """Returns what looks through the packets of a stream."""
  codec = stream.codec_context.codec.canonical_name
  if codec not in _SIZE_OF_LENGTH:
    return Units()
  extra, place = stream.codec_context.extradata or b'', _SIZE_OF_LENGTH[codec]
  written = extra[:1] == b'\1' and len(extra) > place
  return Units(codec, (extra[place] & 3) + 1 if written else 0)
