"""Decoding and nothing else, for comparison; imports little, since its memory is measured."""

import av


def decode(path: str):
  """Decodes a video, and keeps no frame."""
  with av.open(path) as container:
    container.streams.video[0].codec_context.thread_count = 1
    for packet in container.demux(video=0):
      packet.decode()
