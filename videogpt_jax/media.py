"""Writes video files (mp4 with PyAV, gif with Pillow), and lays videos out in labelled grids.

Axis letters: n videos; T H W frames, height, width.
"""

import fractions
import io
import math
from collections.abc import Sequence

import av
import numpy as np
from etils.epath import Path
from PIL import Image, ImageDraw, ImageFont

from videogpt_jax import files

GAP = 2
"""Pixels between the cells of a grid."""

PREVIEW_FPS = 8
"""Frames a second of what training shows of held-out clips."""

MIN_CELL = 96
"""Width in pixels to which smaller videos are enlarged for viewing, by a whole factor."""


def enlarge(videos: np.ndarray) -> np.ndarray:
  """Repeats the pixels of uint8 [... H W 3] by a whole factor, to a width of about `MIN_CELL`."""
  factor = max(1, round(MIN_CELL / videos.shape[-2]))
  return videos.repeat(factor, axis=-3).repeat(factor, axis=-2)


def grid(
  videos: np.ndarray, labels: Sequence[str] | None = None, columns: int | None = None
) -> np.ndarray:
  """Lays videos out in a grid, each below its label.

  Args:
    videos: uint8 [n T H W 3].
    labels: n texts, or None.
    columns: number of columns; by default about the number of rows.
  Returns:
    uint8 [T H' W' 3].
  """
  n, T, H, W, _ = videos.shape
  columns = columns or math.ceil(math.sqrt(n))
  rows = math.ceil(n / columns)
  head = 14 if labels else 0
  height, width = head + H + GAP, W + GAP
  sheet = np.full((T, rows * height, columns * width, 3), 40, np.uint8)
  for i, video in enumerate(videos):
    top, left = i // columns * height + head, i % columns * width
    sheet[:, top : top + H, left : left + W] = video
    if labels:
      sheet[:, top - head : top, left : left + W] = _text(labels[i], W, head)
  return sheet


def _text(text: str, width: int, height: int) -> np.ndarray:
  image = Image.new('RGB', (width, height), (40, 40, 40))
  ImageDraw.Draw(image).text((2, 1), text, (230, 230, 230), font=ImageFont.load_default(10))
  return np.asarray(image)


def gif(video: np.ndarray, fps: float) -> bytes:
  """Encodes uint8 [T H W 3] as a GIF that loops for ever."""
  frames, file = [Image.fromarray(frame) for frame in video], io.BytesIO()
  frames[0].save(
    file, 'GIF', save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0
  )
  return file.getvalue()


def write_gif(path: Path, video: np.ndarray, fps: float):
  """Writes uint8 [T H W 3] as a GIF."""
  files.replace(path, gif(video, fps))


def mp4(video: np.ndarray, fps: float) -> bytes:
  """Encodes uint8 [T H W 3] as H.264. Pads odd sizes by a line, since the codec needs even ones."""
  video = np.pad(video, [(0, 0), (0, video.shape[1] % 2), (0, video.shape[2] % 2), (0, 0)])
  file = io.BytesIO()  # the muxer seeks, which buckets do not support
  with av.open(file, 'w', format='mp4') as container:
    stream = container.add_stream(
      'libx264', rate=fractions.Fraction(fps).limit_denominator(1001), options={'crf': '17'}
    )
    stream.height, stream.width, stream.pix_fmt = video.shape[1], video.shape[2], 'yuv420p'
    for frame in video:
      for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')):
        container.mux(packet)
    for packet in stream.encode():
      container.mux(packet)
  return file.getvalue()


def write_mp4(path: Path, video: np.ndarray, fps: float):
  """Writes uint8 [T H W 3] as H.264, see `mp4`."""
  files.replace(path, mp4(video, fps))
