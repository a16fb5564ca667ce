"""Videos longer than a clip: the clips that make them up, and how they are joined.

Each clip begins with the last frames of the one before. A prior that is conditioned on frames sees
them too. With `prior.history`, the frames that clips share keep their codes, and the decoder, which
is causal, goes on: the video is one stream.

Otherwise the shared frames are encoded as the beginning of a clip that then stands still, where the
latent grid has more than one latent frame, and their codes are kept. (The codes that they had
before are those of a clip's end, which such a prior has never seen at a beginning.) The frames that
two clips share cross-fade in their middle.

Axis letters: n videos; T H W frames, height, width.
"""

import dataclasses

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig


@dataclasses.dataclass(frozen=True)
class Windows:
  """The clips of a video.

  Attributes:
    clip: frames of a clip.
    shared: frames that a clip has in common with the one before.
    shared_latents: latent frames that stand for these at its beginning.
    starts: first frame of each clip.
    streams: whether shared frames keep their codes.
  """

  clip: int
  shared: int
  shared_latents: int
  starts: tuple[int, ...]
  streams: bool = False


def plan(spec: CodeSpec, prior: PriorConfig, num_frames: int, continues: bool = False) -> Windows:
  """Returns the clips that cover so many frames.

  Consecutive clips share half of their frames, or more where the prior's conditioning frames need
  more.

  Args:
    spec: of the prior's codes.
    prior: its configuration.
    num_frames: of the whole video.
    continues: whether even the first clip begins with frames of an earlier video.
  Raises:
    UserError: there are to be no frames, or the model cannot go on after its first clip.
  """
  clip, t = spec.sequence_length, spec.latent_shape[0]
  n_cond_frames, streams = prior.n_cond_frames, prior.history > 0
  if num_frames < 1:
    raise UserError(f'num_frames ({num_frames}) must be at least 1')
  if num_frames <= clip and not continues:
    return Windows(clip, 0, 0, (0,))
  enough = next(n for n in range(t + 1) if spec.frames(n) >= n_cond_frames)
  latents = max(t // 2, enough)
  shared = spec.frames(latents)
  if latents >= t:  # whole latent frames would leave nothing new: the conditioning frames alone do
    latents, shared, streams = 0, n_cond_frames, False
  if not 0 < shared < clip:
    why = (
      f'its latent grid {spec.latent_shape} has a single latent frame, so that no codes can be kept'
      ', and it is not conditioned on frames (prior.n_cond_frames=0)'
      if not n_cond_frames
      else f'all {clip} frames of its clips are conditioning frames'
    )
    raise UserError(f'this model cannot go on beyond the {clip} frames of a clip: {why}')
  # A clip that begins in mid-stream shares the frames of whole latent frames, the last of the first
  # one among them, where a video's first latent frame stands for one frame alone.
  starts = [0]
  while starts[-1] + clip < num_frames:
    starts.append(starts[-1] + clip - shared)
  return Windows(clip, shared, latents, tuple(starts), streams)


def join(video: np.ndarray, clip: np.ndarray, shared: int) -> np.ndarray:
  """Appends a clip to a video; in the middle of what they share it fades from the one to the other.

  The first quarter of the shared frames stays the video's, the last is the clip's: a decoder is at
  its worst in the first and last frames of what it decodes.

  Args:
    video: float32 [n T H W 3].
    clip: float32 [n T' H W 3].
    shared: how many of the video's last frames are the clip's first.
  """
  middle = (np.arange(shared, dtype=np.float32) + 0.5) / max(shared, 1)
  new = np.clip(2 * middle - 0.5, 0, 1)[:, None, None, None]
  faded = (1 - new) * video[:, video.shape[1] - shared :] + new * clip[:, :shared]
  return np.concatenate([video[:, : video.shape[1] - shared], faded, clip[:, shared:]], axis=1)
