"""Whether a file ends where its container says: FFmpeg takes the end of a download for that of a
film. For containers that state their size near their beginning; those of MP4 count their frames."""

import os

_HEAD = 1 << 16  # bytes in which a size is looked for
_SEGMENT = b'\x18\x53\x80\x67'  # of Matroska and WebM: all but the head
_ASF = b'\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c'


def missing_bytes(path: str) -> int:
  """Returns how many bytes a file lacks of what its head states; 0 where it states nothing."""
  with open(path, 'rb') as file:
    head = file.read(_HEAD)
    size = file.seek(0, os.SEEK_END)
  return max(0, _stated_size(head) - size)


def _stated_size(head: bytes) -> int:
  if head[:4] == b'RIFF':
    stated = int.from_bytes(head[4:8], 'little')
    return stated + 8 if stated < 0xFFFFFFFF else 0
  if head[:4] == b'\x1a\x45\xdf\xa3':
    return _end_of_segment(head)
  if head[:16] == _ASF:
    place = int.from_bytes(head[16:24], 'little')  # the data follow, with their own size
    return place + int.from_bytes(head[place + 16 : place + 24], 'little')
  return 0


def _end_of_segment(head) -> int:
  place = head.find(_SEGMENT) + len(_SEGMENT)
  if place < len(_SEGMENT) or place >= len(head) or not head[place]:
    return 0
  n = 9 - head[place].bit_length()  # bytes of the number, by its leading zeros
  bits = 7 * n
  value = int.from_bytes(head[place : place + n], 'big') & (1 << bits) - 1
  return place + n + value if value < (1 << bits) - 1 else 0  # all ones: unknown
