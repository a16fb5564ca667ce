"""RoboNet: hdf5/*.hdf5, a trajectory a file, each camera's view an MP4 or JPEGs in it."""

import io
import pathlib
import zlib
from collections.abc import Iterator

import av
import h5py
import numpy as np
from PIL import Image

from data.formats import Item, Listing, Options, RawClip, UnusableError

_TEST_EVERY = 20  # there is no official split; one trajectory in so many is held out


def list_items(source: str, options: Options) -> Listing:
  """A trajectory an item."""
  del options
  files = sorted(pathlib.Path(source).rglob('*.hdf5'))
  if not files:
    raise ValueError(f'{source} holds no .hdf5 files; name the unpacked archive')
  splits = (
    'test' if zlib.crc32(path.stem.encode()) % _TEST_EVERY == 0 else 'train' for path in files
  )
  return Listing(
    [Item(path.stem, split, str(path)) for path, split in zip(files, splits, strict=True)]
  )


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """The view of `camera` (0 if not given). The last frame has no action; it is given zeros."""
  view = f'env/cam{int(options.camera or 0)}_video'
  try:
    with h5py.File(item.path) as file:
      frames = _frames(file[view])
      actions = file['policy/actions'][()].astype(np.float32)
  except (OSError, KeyError, ValueError, av.FFmpegError) as error:
    raise UnusableError(f'{view} or policy/actions cannot be read ({error})') from error
  actions = np.pad(actions, ((0, max(0, len(frames) - len(actions))), (0, 0)))[: len(frames)]
  yield RawClip(frames[:: options.frame_skip], actions[:: options.frame_skip])


def _frames(view) -> list[np.ndarray]:
  """RGB frames uint8 [h w 3] of a view: one MP4 in `frames`, or a JPEG file in each `frame0`, ...

  The JPEG files were written by OpenCV, which calls blue what comes first: those that say RGB hold
  red and blue exchanged.
  """
  if 'frames' in view:
    stored, swapped = view['frames'], 'BGR'
    with av.open(io.BytesIO(stored[()].tobytes())) as container:
      frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
  else:
    stored, swapped = view['frame0'], 'RGB'
    files = (io.BytesIO(view[f'frame{t}'][()].tobytes()) for t in range(len(view)))
    frames = [np.asarray(Image.open(file).convert('RGB')) for file in files]
  if stored.attrs.get('image_format', 'RGB') == swapped:
    return [frame[..., ::-1] for frame in frames]
  return frames
