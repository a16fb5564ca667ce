"""What a request must be, said before anything is compiled.

Axis letters: n videos; T H W frames, height, width; t h w latent grid; K n_codes.
"""

import math

import jax
import numpy as np

from videogpt_jax.models.prior import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.request import Array, Request


def check_request(request: Request, spec: CodeSpec, config: PriorConfig):
  """Refuses what cannot be made (ValueError); shapes of conditions the prior checks itself."""
  n = request.n
  if n < 1:
    raise ValueError(f'the number of videos ({n}) must be at least 1')
  if not 0 <= request.seed < 2**32:
    raise ValueError(f'seed ({request.seed}) must be in [0, 2**32)')
  if request.best_of < 1:
    raise ValueError(f'best_of ({request.best_of}) must be at least 1; 1 keeps every draw')
  if request.class_label is not None and config.n_classes:
    label = labels(request.class_label, n)
    if not 0 <= label.min() <= label.max() < config.n_classes:
      raise ValueError(
        f'class_label ({label.min()} to {label.max()}) must be in [0, {config.n_classes})'
      )
  for name in ('frames', 'actions', 'prefix', 'goes_on_from'):
    value = getattr(request, name)
    if value is not None and len(value) != n:
      raise ValueError(f'{name} has {len(value)} entries for {n} videos; give one a video')
  for name in ('frames', 'goes_on_from'):
    _check_range(name, getattr(request, name))
  check_guidance(request.guidance, config)
  _check_beginning(request, spec, config)
  if request.actions is not None and config.action_dim:
    wanted = max(spec.sequence_length, request.num_frames or 0)
    if np.shape(request.actions)[1:] != (wanted, config.action_dim):
      raise ValueError(
        f'actions have shape {np.shape(request.actions)}; videos of {wanted} frames want '
        f'[{n}, {wanted}, {config.action_dim}]'
      )


def check_guidance(guidance: float, config: PriorConfig):
  """Refuses guidance of a prior that cannot do without its condition (ValueError)."""
  if guidance == 1:
    return
  if not (config.n_classes or config.n_cond_frames or config.action_dim):
    raise ValueError(f'guidance ({guidance}) needs a prior that is conditioned on something')
  if not config.cond_dropout:
    raise ValueError(
      f'guidance ({guidance}) needs a prior that has learnt to do without its condition, and this '
      'one was trained with prior.cond_dropout=0; train one with --config.prior.cond_dropout=0.1'
    )


def _check_beginning(request: Request, spec: CodeSpec, config: PriorConfig):
  """What a video begins with."""
  if request.goes_on_from is not None:
    for name in ('frames', 'prefix'):
      if getattr(request, name) is not None:
        raise ValueError(f'goes_on_from brings its own beginning; leave {name} out')
    size = np.shape(request.goes_on_from)[2:]
    wanted = (spec.resolution, spec.resolution, 3)
    if size != wanted:
      raise ValueError(f'goes_on_from has frames {size}; they must be {wanted}: resize them')
  if request.prefix is not None:
    shape, grid = np.shape(request.prefix), spec.latent_shape
    n_codes = math.prod(shape[1:])
    if shape[2:] not in ((), grid[1:]) or not 0 < n_codes <= math.prod(grid):
      raise ValueError(
        f'prefix has shape {shape}; it must be [n, p] of p codes in raster order, or '
        f'[n, t, {", ".join(map(str, grid[1:]))}], up to the {math.prod(grid)} codes of a clip'
      )
    check_codes('prefix', request.prefix, spec.n_codes)


def _check_range(name: str, video: Array | None):
  """Refuses bytes and other ranges; decoded video, which is not clipped, may go a little beyond."""
  if video is None or isinstance(video, jax.core.Tracer):
    return
  video = np.asarray(video)
  if not np.issubdtype(video.dtype, np.floating) or np.abs(video).max(initial=0) > 1:
    raise ValueError(
      f'{name} ({video.dtype}, {video.min()} to {video.max()}) must be floats in [-0.5, 0.5]; of '
      f'bytes take {name} / 255 - 0.5'
    )


def check_codes(name: str, codes: Array, n_codes: int):
  """Refuses codes that are none (ValueError); of traced ones nothing is known."""
  if isinstance(codes, jax.core.Tracer):
    return
  codes = np.asarray(codes)
  if not np.issubdtype(codes.dtype, np.integer):
    raise ValueError(f'{name} are {codes.dtype}; they must be integers')
  if codes.size and not 0 <= codes.min() <= codes.max() < n_codes:
    raise ValueError(f'{name} ({codes.min()} to {codes.max()}) must be in [0, {n_codes})')


def labels(class_label: Array | int, n: int) -> np.ndarray:
  """Returns int32 [n] of one label a video, or one for all.

  Raises:
    ValueError: there are neither n nor one.
  """
  label = np.asarray(class_label)
  if not np.issubdtype(label.dtype, np.integer) or label.shape not in ((), (n,)):
    raise ValueError(
      f'class_label is {label.dtype} {label.shape}; give {n} integers, or one for all'
    )
  return np.broadcast_to(label, (n,)).astype(np.int32)


def earlier_frames(video: Array, shared: int) -> np.ndarray:
  """Returns the video to go on from, if it has as many frames as the next clip begins with."""
  if np.shape(video)[1] < shared:
    raise ValueError(
      f'goes_on_from has {np.shape(video)[1]} frames, but a video begins with {shared} of it'
    )
  return np.asarray(video, np.float32)
