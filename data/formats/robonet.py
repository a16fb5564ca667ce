"""RoboNet: hdf5/*.hdf5, one trajectory per file, with the view of each camera as MP4 or JPEG."""

import io
import pathlib
import zlib
from collections.abc import Iterator

import av
import h5py
import numpy as np
from PIL import Image

from data.formats import Item, Listing, Options, RawClip, UnusableError
from videogpt_jax.errors import UserError
from videogpt_jax.input.actions import between

_TEST_EVERY = 20  # one trajectory in 20 is held out, since there is no official split


def list_items(source: str, options: Options) -> Listing:
  """Lists the trajectories."""
  del options
  files = sorted(pathlib.Path(source).rglob('*.hdf5'))
  if not files:
    raise UserError(f'{source} holds no .hdf5 files; name the unpacked archive')
  splits = (
    'test' if zlib.crc32(path.stem.encode()) % _TEST_EVERY == 0 else 'train' for path in files
  )
  return Listing(
    [Item(path.stem, split, str(path)) for path, split in zip(files, splits, strict=True)]
  )


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Reads the view of `camera` (default 0). The last frame has no action and gets zeros."""
  view = f'env/cam{int(options.camera or 0)}_video'
  try:
    with h5py.File(item.path) as file:
      frames = _frames(file[view])
      actions = file['policy/actions'][()].astype(np.float32)
  except (OSError, KeyError, ValueError, av.FFmpegError) as error:
    raise UnusableError(f'{view} or policy/actions cannot be read ({error})') from error
  actions = np.pad(actions, ((0, max(0, len(frames) - len(actions))), (0, 0)))[: len(frames)]
  kept = np.arange(0, len(frames), options.frame_skip)
  yield RawClip(frames[:: options.frame_skip], between(actions, kept))


def _frames(view) -> list[np.ndarray]:
  """Returns the RGB frames uint8 [h w 3] of a view: an MP4 in `frames`, or JPEGs in `frame0`, ...

  OpenCV, whose first channel is blue, wrote the JPEG files: red and blue are exchanged in those
  that claim to be RGB.
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
