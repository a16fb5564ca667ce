"""How much frames change where clips, latent frames or neither begin: the figures of seams.py.

Axis letters: n videos; T H W frames, height, width; t h w latent grid.
"""

import itertools

import numpy as np


def changes(video: np.ndarray) -> np.ndarray:
  """Mean absolute difference of each frame from the one before: [n T H W 3] -> [n T], of 0 none."""
  differences = np.abs(np.diff(video, axis=1, prepend=video[:, :1]))
  return differences.mean(axis=(2, 3, 4))


def places(windows, num_frames: int, latent_step: int) -> dict[str, np.ndarray]:
  """Returns frames by what begins there, int [m] each.

  Args:
    windows: the clips of a video, `sampling.windows.Windows`.
    num_frames: of the video.
    latent_step: frames of a latent frame.
  Returns:
    'a clip': a clip's first frame, or its first that it does not share; 'a latent frame': any other
    latent frame; 'neither': all others. Frames of the first clip alone do not count.
  """
  later = windows.starts[1:]
  clips = {*later, *(start + windows.shared for start in later)}
  frames = np.arange(later[0], num_frames)
  begins_clip = np.isin(frames, list(clips))
  begins_latent = (frames % latent_step == 0) & ~begins_clip
  return {
    'a clip': frames[begins_clip],
    'a latent frame': frames[begins_latent],
    'neither': frames[~begins_clip & ~begins_latent],
  }


def ratio(changes: np.ndarray, ours: np.ndarray, others: np.ndarray) -> tuple[float, float]:
  """Returns how many times as much changes at `ours` as at `others`, and its standard error.

  Args:
    changes: float [n T].
    ours, others: int [m], frames.
  """
  at, elsewhere = changes[:, ours].mean(1), changes[:, others].mean(1)
  value = at.mean() / elsewhere.mean()
  # Of a ratio of means over n videos, to first order (the delta method).
  error = np.std(at - value * elsewhere, ddof=1) / np.sqrt(len(at)) / elsewhere.mean()
  return value, error


def overlap_psnr(model, codes: np.ndarray, shared: int) -> np.ndarray:
  """PSNR in dB of the frames that two clips share, one decoding against the other: float [shared].

  Args:
    model: the VideoGPT.
    codes: int32 [n clips t h w].
    shared: frames.
  """
  clips = [np.asarray(model.videos(codes[:, i])) for i in range(codes.shape[1])]
  errors = [
    np.square(a[:, -shared:] - b[:, :shared]).mean(axis=(0, 2, 3, 4))
    for a, b in itertools.pairwise(clips)
  ]
  return -10 * np.log10(np.mean(errors, axis=0))
