"""Near-identical recordings in training and held-out splits.

Letters: n m recordings; P pixels of a small grey picture.
"""

from collections.abc import Sequence

import numpy as np

from videogpt_jax.framing import Framing
from videogpt_jax.input.recording import BrokenRecordingError, Recording

_SIDE = 12  # of the small pictures
_FRAMES = 8  # of each recording
_NEAR = 5.0  # root mean square difference in levels of 255: two encodings of one video differ less
_FLAT = 8.0  # standard deviation below which a picture shows nothing
_SHARE = 0.75  # of the pictures of a held-out recording that must be in the other one


def near_identical(
  train: Sequence[Recording], held_out: Sequence[Recording]
) -> list[tuple[str, str]]:
  """Returns the names of held-out recordings that training shows too, each with its likeness.

  Compares eight small grey pictures of each recording, at the same parts of its length: it finds
  copies and other encodings, and not other parts of one film. Recordings that show nothing but one
  colour are not compared.
  """
  ours, theirs = _pictures(train), _pictures(held_out)
  if not ours or not theirs:
    return []
  table = np.concatenate(list(ours.values()))  # [n * frames P]
  owners = np.repeat(np.array(list(ours)), [len(pictures) for pictures in ours.values()])
  found = []
  for name, pictures in theirs.items():
    distances = (pictures**2).sum(1)[:, None] + (table**2).sum(1) - 2 * pictures @ table.T
    near = distances < _NEAR**2 * table.shape[1]
    alike = {owner for owner in owners[near.any(0)]}
    for owner in sorted(alike):
      if near[:, owners == owner].any(1).mean() >= _SHARE:
        found.append((owner, name))
        break
  return found


def _pictures(recordings) -> dict[str, np.ndarray]:
  """Returns float32 [frames P] of each recording that shows something."""
  found = {}
  for recording in recordings:
    n = len(recording)
    which = np.unique(np.linspace(0, n - 1, min(n, _FRAMES)).round().astype(int))
    try:
      frames = list(recording.frames(which, Framing((_SIDE, _SIDE), 'stretch', antialias=True)))
    except BrokenRecordingError:
      continue
    pictures = np.stack(frames).astype(np.float32).mean(-1).reshape(len(frames), -1)
    pictures = pictures[pictures.std(1) > _FLAT]
    if len(pictures):
      found[recording.name] = pictures
  return found
