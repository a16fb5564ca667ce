"""Changes between frames at the seams of clips and of latent frames: the figures of seams.py.

Axis letters: n videos; T H W frames, height, width; t h w latent grid.
"""

import itertools

import numpy as np


def changes(video: np.ndarray) -> np.ndarray:
  """Returns the mean absolute change of each frame from the previous one: [n T], 0 at frame 0."""
  differences = np.abs(np.diff(video, axis=1, prepend=video[:, :1]))
  return differences.mean(axis=(2, 3, 4))


def places(windows, num_frames: int, latent_step: int) -> dict[str, np.ndarray]:
  """Groups frames by what begins at them, int [m] each.

  Args:
    windows: the clips of a video, `sampling.windows.Windows`.
    num_frames: of the video.
    latent_step: frames per latent frame.
  Returns:
    'a clip': first frames of clips, and their first frames that are not shared; 'a latent frame':
    first frames of other latent frames; 'neither': the rest. Frames before the second clip are left
    out.
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
  """Returns the ratio of the changes at `ours` to those at `others`, and its standard error.

  Args:
    changes: float [n T].
    ours, others: int [m], frames.
  """
  at, elsewhere = changes[:, ours].mean(1), changes[:, others].mean(1)
  value = at.mean() / elsewhere.mean()
  # First-order error of a ratio of means over n videos (delta method).
  error = np.std(at - value * elsewhere, ddof=1) / np.sqrt(len(at)) / elsewhere.mean()
  return value, error


def bits_by_latent_frame(model, codes: np.ndarray, conditions) -> np.ndarray:
  """Returns what codes cost the prior, teacher-forced: float [t], bits a code of each latent frame.

  Args:
    model: the VideoGPT.
    codes: int32 [n t h w].
    conditions: of the clips, by name.
  """
  logits = model.logits(codes, conditions=conditions)
  chosen = np.asarray(model.prior.module().factors.log_p(logits, codes))
  return -chosen.reshape(*codes.shape[:2], -1).mean(axis=(0, 2)) / np.log(2)


def with_old_beginnings(codes: np.ndarray, latents: int) -> np.ndarray:
  """Returns later clips that begin with the codes of the end of the clip before, as they are.

  Args:
    codes: int32 [n clips t h w], of videos.
    latents: latent frames that clips share.
  Returns:
    int32 [n clips-1 t h w].
  """
  return np.concatenate([codes[:, :-1, -latents:], codes[:, 1:, latents:]], axis=2)


def across_joints(windows) -> dict[str, int]:
  """Returns first frames of windows as long as a clip: of the first clip, and about two joints."""
  middle = lambda start: start + windows.shared // 2 - windows.clip // 2
  return {
    'the first clip': 0,
    'across the first joint': middle(windows.starts[1]),
    'across the last whole joint': middle(
      windows.starts[-2] if windows.starts[2:] else windows.starts[1]
    ),
  }


def overlap_psnr(model, codes: np.ndarray, shared: int) -> np.ndarray:
  """Returns the PSNR in dB between the two decodings of shared frames: float [shared].

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
