"""About how much memory a training step needs, and how much there is, without compiling it."""

import math
import os

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.models.vqvae import VQVAE

_STATES = 4  # parameters, gradients and two moments


def vqvae_bytes(experiment: Experiment, batch_size: int) -> int:
  """Returns an upper bound of what a training step of the VQ-VAE holds: states and activations.

  Adds up all that the forward pass computes, as if everything were kept for the backward pass.
  """
  vqvae = nnx.eval_shape(lambda: VQVAE(experiment.vqvae, rngs=nnx.Rngs(0)))
  graph, state = nnx.split(vqvae)
  video = jax.ShapeDtypeStruct((batch_size, *experiment.codes.clip_shape), jnp.float32)
  forward = lambda state, video: nnx.merge(graph, state)(video).reconstruction
  traced = jax.make_jaxpr(forward)(state, video)
  parameters = sum(math.prod(a.shape) * a.dtype.itemsize for a in jax.tree.leaves(state))
  return _STATES * parameters + _made(traced.jaxpr)


def check_fits(what: str, arrays):
  """Refuses arrays that all devices together cannot hold, before any of them is made.

  Args:
    what: they are, for the message.
    arrays: a tree of arrays, or of their shapes.
  Raises:
    UserError: they need more memory than there is.
  """
  needed = sum(math.prod(a.shape) * a.dtype.itemsize for a in jax.tree.leaves(arrays))
  n_memories = 1 if jax.default_backend() == 'cpu' else jax.local_device_count()
  there = device_bytes() * n_memories * jax.process_count()
  if needed > there:
    raise UserError(
      f'{what} takes {needed >> 20} MiB, and there are {there >> 20} MiB; use a smaller model or '
      'more devices'
    )


def check_training(stage: str, params):
  """Refuses a model whose training state all devices together cannot hold (UserError)."""
  check_fits(f'{stage}: training state', [params] * _STATES)


def device_bytes() -> int:
  """Returns the memory of one device, or of the machine where JAX runs on the CPU."""
  device = jax.local_devices()[0]
  stats = device.memory_stats() if device.platform != 'cpu' else None
  if stats and 'bytes_limit' in stats:
    return stats['bytes_limit']
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def largest_batch(experiment: Experiment, available: int) -> int:
  """Returns the largest batch, a power of two, whose step fits; 0 if none does."""
  one, two = (vqvae_bytes(experiment, n) for n in (1, 2))
  room = (available - (one - (two - one))) / max(two - one, 1)
  return 2 ** int(math.log2(room)) if room >= 1 else 0


def _made(jaxpr) -> int:
  """Returns the bytes of all arrays that a program computes, with those of the programs in it."""
  total = 0
  for equation in jaxpr.eqns:
    inner = [v for v in equation.params.values() if hasattr(v, 'jaxpr') or hasattr(v, 'eqns')]
    if inner:
      total += sum(_made(getattr(program, 'jaxpr', program)) for program in inner)
    else:
      shapes = (v.aval for v in equation.outvars)
      total += sum(math.prod(a.shape) * a.dtype.itemsize for a in shapes if hasattr(a, 'shape'))
  return total
