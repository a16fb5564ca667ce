"""A video file as a recording: frames by their place in display order, decoded with PyAV.

Time stamps may be missing or out of order (AVI stores none). A frame is therefore known by its
time stamp where the file has one for each, and by its place, the order in which a decoder returns
frames, where it has not.
"""

import dataclasses
import gc
from collections.abc import Iterator

import numpy as np

from videogpt_jax.framing import Framing
from videogpt_jax.input import faults
from videogpt_jax.input.film import aspect_of, decode, deinterlace, open_film
from videogpt_jax.input.picture import Pictures
from videogpt_jax.input.recording import BrokenRecordingError

SUFFIXES = ('.avi', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpg', '.webm')


@dataclasses.dataclass(frozen=True, eq=False)
class VideoFile:
  """The film in a video file, as `video_scan.scan` finds it.

  Attributes:
    address: path, or FFmpeg's address of a part of a file.
    name: unique in its data set, for messages.
    stamps: int64 [n], strictly increasing, in units of `tick`.
    tick: length of a unit in seconds.
    keys: int64 [k], stamps of the frames from which decoding can begin; empty where `stamps` are
      not the file's own but made up at a constant rate.
    size: (h, w) of all frames as they are shown; None if it changes.
    interlaced: whether frames hold two fields, and are deinterlaced.
    fault: why the file has no frames after these; '' where these are all.
    remarks: what to know about its pixels, one line each.
  """

  address: str
  name: str
  stamps: np.ndarray
  tick: float
  keys: np.ndarray
  size: tuple[int, int] | None = None
  interlaced: bool = False
  fault: str = ''
  remarks: tuple[str, ...] = ()

  @property
  def times(self) -> np.ndarray:
    """float64 [n], seconds from the first frame."""
    return (self.stamps - self.stamps[0]) * self.tick

  def __len__(self) -> int:
    return len(self.stamps)

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    """Yields frames as they are shown; see `Recording.frames`.

    Decodes from the key frame before them, and once more from the beginning if that does not give
    all of them.
    """
    indices = [int(i) for i in indices]
    start = self._key_before(indices[0])
    done = 0
    with faults.told('decoding fails'):
      for image in self._decoded(indices, framing, start):
        yield image
        done += 1
    if done < len(indices) and len(self.keys):
      with faults.told('decoding fails'):
        for image in self._decoded(indices[done:], framing, None):
          yield image
          done += 1
    if done < len(indices):
      raise BrokenRecordingError(
        f'decoding gives no frame {indices[done]} of {len(self)}; the file is broken or has changed'
      )

  def _key_before(self, index) -> int | None:
    """Returns the stamp of the key frame to decode a frame from; None for the first."""
    # The fields before it tell how to deinterlace a frame.
    side = 'left' if self.interlaced else 'right'
    place = np.searchsorted(self.keys, self.stamps[index], side) - 1
    return int(self.keys[place]) if place > 0 else None

  def _decoded(self, indices, framing, start):
    """Yields the frames in one pass, as far as decoding gives them in this order."""
    labels = [int(self.stamps[i]) for i in indices] if len(self.keys) else indices
    needed = frozenset(labels)
    pictures, place, i = None, 0, -1
    with open_film(self.address) as stream:
      skips = len(self.keys) and not self.interlaced
      frames = decode(stream, start, needed if skips else ())
      if self.interlaced:
        frames = deinterlace(stream, frames)
      for stamp, frame in frames:  # `enumerate` would keep each until the next is there
        i += 1
        label = stamp if len(self.keys) else i
        image = None
        if label == labels[place]:
          pictures = pictures or Pictures(aspect_of(stream), framing)
          image = pictures(frame)
        del frame  # it is not kept while the next one is decoded
        if image is not None and not place:
          gc.collect(1)  # see Pictures: the first
        while image is not None and labels[place] == label:
          yield image
          place += 1
          if place == len(labels):
            return
