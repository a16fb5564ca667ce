"""Checks of a request, before anything is compiled.

Axis letters: n videos; T H W frames, height, width; t h w latent grid; K n_codes.
"""

import math

import jax
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.models.conditioners import Array, axes, check_conditions
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.request import Request

_TOLERANCE = 1e-3  # of a range that must be exact
_ABOVE = 0.6  # what a video in [-0.5, 0.5] may reach after a decoder; one in [0, 1] goes beyond


def check_request(request: Request, spec: CodeSpec, config: PriorConfig):
  """Refuses what the model cannot make (UserError)."""
  n = request.n
  if n < 1:
    raise UserError(f'the number of videos ({n}) must be at least 1')
  if not 0 <= request.seed < 2**32:
    raise UserError(f'seed ({request.seed}) must be in [0, 2**32)')
  request.settings.check(spec.n_codes, config)
  given = {**request.conditions, 'prefix': request.prefix, 'continue_from': request.continue_from}
  for name, value in given.items():
    if value is not None and len(value) != n:
      raise UserError(f'{name} has {len(value)} entries for {n} videos; give one a video')
  check_label(request.conditions.get('class_label'), config)
  for name in ('frames', 'continue_from'):
    check_range(name, given.get(name))
  _check_beginning(request, spec)
  conditions = dict(request.conditions)
  if config.action_dim and conditions.get('actions') is not None:
    conditions['actions'] = _clip_of_actions(conditions['actions'], request, spec, config)
  if request.continue_from is not None and config.n_cond_frames:
    conditions['frames'] = request.continue_from[:, : config.n_cond_frames]
  check_conditions(conditions, config, spec)


def check_pair(modelled: CodeSpec, made: CodeSpec):
  """Refuses a prior of other codes than the tokenizer makes (UserError)."""
  if (modelled.n_codes, modelled.latent_shape) != (made.n_codes, made.latent_shape):
    raise UserError(
      f'the prior models codes {modelled.latent_shape} of {modelled.n_codes} values, and the '
      f'tokenizer makes {made.latent_shape} of {made.n_codes}; take both from one model'
    )


def check_label(label: Array | None, config: PriorConfig):
  """Refuses unknown classes (UserError)."""
  if label is not None and config.n_classes:
    label = np.asarray(label)
    if not 0 <= label.min() <= label.max() < config.n_classes:
      low, high = label.min(), label.max()
      found = low if low == high else f'{low} to {high}'
      raise UserError(f'class_label ({found}) must be in [0, {config.n_classes})')


def _clip_of_actions(actions: Array, request: Request, spec: CodeSpec, config: PriorConfig):
  """Returns the actions of the first clip, if there are as many as the video has frames."""
  n_frames = max(spec.sequence_length, request.settings.num_frames)
  if np.shape(actions)[1:] != (n_frames, config.action_dim):
    raise UserError(
      f'actions have shape {list(np.shape(actions))}; videos of {n_frames} frames want '
      f'[{request.n}, {n_frames}, {config.action_dim}]'
    )
  return actions[:, : spec.sequence_length]


def _check_beginning(request: Request, spec: CodeSpec):
  """Refuses a video or codes that no clip can begin with (UserError)."""
  if request.continue_from is not None:
    for name, value in (('frames', request.conditions.get('frames')), ('prefix', request.prefix)):
      if value is not None:
        raise UserError(f'continue_from brings its own beginning; leave {name} out')
    size, wanted = np.shape(request.continue_from)[2:], (*spec.frame_size, 3)
    if size != wanted:
      raise UserError(f'continue_from has frames {size}; they must be {wanted}: resize them')
  if request.prefix is not None:
    shape, grid = np.shape(request.prefix), spec.latent_shape
    n_codes = math.prod(shape[1:])
    if shape[2:] not in ((), grid[1:]) or not 0 < n_codes <= math.prod(grid):
      raise UserError(
        f'prefix has shape {shape}; it must be [n, p] of p codes in raster order, or '
        f'{axes(grid[1:], "n, t")}, up to the {math.prod(grid)} codes of a clip'
      )
    check_codes('prefix', request.prefix, spec.n_codes)


def check_range(name: str, video: Array | None):
  """Refuses bytes and other ranges (UserError); decoded video may go a little beyond the range."""
  if video is None or isinstance(video, jax.core.Tracer):
    return
  video = np.asarray(video)
  if not np.issubdtype(video.dtype, np.floating) or np.abs(video).max(initial=0) > 1:
    raise UserError(
      f'{name} ({video.dtype}, {video.min()} to {video.max()}) must be floats in [-0.5, 0.5]; '
      f'convert bytes with {name} / 255 - 0.5'
    )
  if video.size and video.min() >= 0 and video.max() > _ABOVE:
    raise UserError(
      f'{name} spans {video.min():.3g} to {video.max():.3g}; it must lie in [-0.5, 0.5]: '
      f'{name} - 0.5'
    )


def check_video(name: str, video: Array):
  """Refuses arrays that are no float videos in [-0.5, 0.5] (UserError)."""
  shape, dtype = np.shape(video), jax.numpy.result_type(video)
  if len(shape) != 5 or shape[-1] != 3:
    raise UserError(f'{name} has shape {shape}; it must be [B T H W 3]')
  if not jax.numpy.issubdtype(dtype, jax.numpy.floating):
    raise UserError(f'{name} is {dtype}; it must be float in [-0.5, 0.5]: video / 255 - 0.5')
  check_exact_range(name, video)


def check_exact_range(name: str, video: Array):
  """Refuses values outside [-0.5, 0.5] (UserError); traced ones pass."""
  if isinstance(video, jax.core.Tracer) or not np.size(video):
    return
  low, high = float(video.min()), float(video.max())
  if not -0.5 - _TOLERANCE <= low <= high <= 0.5 + _TOLERANCE:
    remedy = f'{name} - 0.5' if 0 <= low <= high <= 1 + _TOLERANCE else f'{name} / 255 - 0.5'
    clip = f'; clip what a decoder gives: {name}.clip(-0.5, 0.5)' if low < 0 else ''
    raise UserError(
      f'{name} spans {low:.3g} to {high:.3g}; it must lie in [-0.5, 0.5]' + (clip or f': {remedy}')
    )


def check_codes(name: str, codes: Array, n_codes: int):
  """Refuses arrays that are no codes (UserError); traced ones pass."""
  if isinstance(codes, jax.core.Tracer):
    return
  codes = np.asarray(codes)
  if not np.issubdtype(codes.dtype, np.integer):
    raise UserError(f'{name} are {codes.dtype}; they must be integers')
  if codes.size and not 0 <= codes.min() <= codes.max() < n_codes:
    raise UserError(f'{name} ({codes.min()} to {codes.max()}) must be in [0, {n_codes})')


def earlier_frames(video: Array, shared: int) -> np.ndarray:
  """Returns the video to continue, if it has as many frames as the next clip begins with."""
  if np.shape(video)[1] < shared:
    raise UserError(
      f'continue_from has {np.shape(video)[1]} frames, but a video begins with {shared} of it'
    )
  return np.asarray(video, np.float32)
