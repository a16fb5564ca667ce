"""Held-out clips that a model brings along, so that it can be sampled where no data are.

Axis letters: n clips; T H W frames, height, width; A size of an action.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from videogpt_jax import files, pixels
from videogpt_jax.errors import UserError
from videogpt_jax.interop import safetensors_file
from videogpt_jax.models.conditioners import Conditions
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig

Layout = Mapping[str, tuple[str, tuple[int | str, ...]]]
"""Type and shape of arrays, by name."""

MOST_BYTES = 2**28
"""What such a file may take; ours take a few MiB."""


@dataclasses.dataclass(frozen=True)
class Starts:
  """Held-out clips.

  Attributes:
    frames: uint8 [n T H W 3].
    actions: float32 [n T A], or None where the prior takes none.
    class_label: int32 [n], or None where there are no classes.
  """

  frames: np.ndarray
  actions: np.ndarray | None = None
  class_label: np.ndarray | None = None

  def conditions(self, n: int, config: PriorConfig, n_frames: int = 0) -> Conditions:
    """Returns what a prior is conditioned on, by name, for n videos; the clips take turns.

    Args:
      n: number of videos.
      config: of the prior.
      n_frames: of each video. Where it is longer than a clip, the clip's actions begin anew.
    """
    turns = np.arange(n) % len(self.frames)
    found: dict[str, np.ndarray] = {}
    if config.n_cond_frames:
      found['frames'] = pixels.to_model_range(self.frames[turns, : config.n_cond_frames])
    if config.action_dim:
      length = self.actions.shape[1]
      found['actions'] = self.actions[turns][:, np.arange(max(n_frames, length)) % length]
    if config.n_classes:
      found['class_label'] = self.class_label[turns]
    return found


def write_starts(file: pathlib.Path, starts: Starts):
  """Writes clips as safetensors."""
  arrays = {name: x for name, x in vars(starts).items() if x is not None}
  files.replace(file, save({name: np.ascontiguousarray(x) for name, x in arrays.items()}))


def read_starts(file: pathlib.Path, spec: CodeSpec, config: PriorConfig | None) -> Starts | None:
  """Returns the clips of a file, or None if there is no file.

  Args:
    file: safetensors.
    spec: of the model's clips.
    config: of its prior, or None.
  Raises:
    UserError: the file is damaged, too large, or its clips are not the model's.
  """
  if not file.exists():
    return None
  if os.path.getsize(file) > MOST_BYTES:
    raise UserError(f'{file} is larger than {MOST_BYTES >> 20} MiB; make fewer starts')
  layout = safetensors_file.layout(file)
  wanted = {'frames': ('U8', ('n', 'T', *spec.frame_size, 3))}
  if config and config.action_dim:
    wanted['actions'] = ('F32', ('n', 'T', config.action_dim))
  if config and config.n_classes:
    wanted['class_label'] = ('I32', ('n',))
  least = max(config.n_cond_frames if config else 0, 1)
  if not _fits(layout, wanted) or layout['frames'][1][1] < least:
    raise UserError(
      f'{file} holds {_told(layout)}, and its model takes {_told(wanted)} with T at least {least}; '
      'get the whole folder again'
    )
  arrays, _ = safetensors_file.read(file)
  labels, actions = arrays.get('class_label'), arrays.get('actions')
  if labels is not None and not ((labels >= 0) & (labels < config.n_classes)).all():
    raise UserError(f'{file} has classes outside [0, {config.n_classes}); get the folder again')
  if actions is not None and not np.isfinite(actions).all():
    raise UserError(f'{file} has actions that are not finite; get the whole folder again')
  return Starts(**arrays)


def _fits(layout: Layout, wanted: Layout) -> bool:
  """Whether arrays have the wanted types and shapes, in which letters stand for any size."""
  if layout.keys() != wanted.keys():
    return False
  same_size = lambda size, want: size == want or (isinstance(want, str) and size > 0)
  for name, (kind, shape) in layout.items():
    as_wanted, sizes = wanted[name]
    if kind != as_wanted or len(shape) != len(sizes) or not all(map(same_size, shape, sizes)):
      return False
  return len({shape[0] for _, shape in layout.values()}) == 1


def _told(layout: Layout) -> str:
  shapes = {name: f'{kind} [{" ".join(map(str, sizes))}]' for name, (kind, sizes) in layout.items()}
  return ', '.join(f'{name} {text}' for name, text in shapes.items()) or 'nothing'
