"""How well the action between two frames can be read: a small classifier of real pairs.

A model that answers actions makes frames from which they can be read back as well as from real
ones.

Axis letters: N pairs; H W height, width; A actions.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from videogpt_jax.training.optimizer import OptimizerConfig, apply_updates, make_optimizer

_SIDE = 64  # pixels of a frame as the network sees it
_STEPS, _BATCH_SIZE = 2400, 64
_OPTIMIZER = OptimizerConfig(learning_rate=2e-3, schedule='cosine', warmup_steps=20, clip_norm=1.0)


class _Network(nnx.Module):
  """Three convolutions, each of which sees 2 x 2 (at first 4 x 4) places as one."""

  def __init__(self, n_actions: int, *, rngs: nnx.Rngs):
    sizes = ((4, 6 * 16, 64), (2, 64 * 4, 64), (2, 64 * 4, 64))
    self.factors = tuple(factor for factor, _, _ in sizes)
    self.layers = nnx.List(nnx.Conv(n_in, n_out, (3, 3), rngs=rngs) for _, n_in, n_out in sizes)
    n_places = (_SIDE // 16) ** 2
    self.out = nnx.Linear(n_places * 64, n_actions, rngs=rngs)

  def __call__(self, pairs: jax.Array) -> jax.Array:
    """[N H W 6] in [-0.5, 0.5] -> logits [N A]."""
    x = pairs
    for factor, layer in zip(self.factors, self.layers, strict=True):
      x = rearrange(x, 'N (h i) (w j) C -> N h w (i j C)', i=factor, j=factor)
      x = nnx.gelu(layer(x))
    return self.out(x.reshape(len(x), -1))


Reader = Callable[[np.ndarray], np.ndarray]
"""Videos uint8 [N T H W 3] -> the action after each frame but the last, int [N T-1]."""


def train(video: np.ndarray, actions: np.ndarray, seed: int = 0) -> Reader:
  """Trains a reader on real clips.

  Args:
    video: uint8 [N T H W 3].
    actions: int [N T], the one-hot action that leads from each frame to the next.
    seed: of the network and of the order of pairs.
  """
  graph, state = nnx.split(_Network(int(actions.max()) + 1, rngs=nnx.Rngs(seed)))
  optimizer = make_optimizer(_OPTIMIZER, _STEPS)
  moments, rng = optimizer.init(state), np.random.default_rng(seed)

  @jax.jit
  def step(state, moments, pairs, wanted):
    def loss(state):
      log_p = jax.nn.log_softmax(nnx.merge(graph, state)(_seen(pairs)))
      return -jnp.take_along_axis(log_p, wanted[:, None], axis=1).mean()

    updates, moments = optimizer.update(jax.grad(loss)(state), moments, state)
    return apply_updates(state, updates), moments

  n, T = video.shape[:2]
  for _ in range(_STEPS):
    clip, frame = rng.integers(n, size=_BATCH_SIZE), rng.integers(T - 1, size=_BATCH_SIZE)
    pairs = np.concatenate([video[clip, frame], video[clip, frame + 1]], axis=-1)
    state, moments = step(state, moments, pairs, actions[clip, frame])
  return functools.partial(_read, jax.jit(lambda pairs: nnx.merge(graph, state)(_seen(pairs))))


def _read(logits: Callable, video: np.ndarray) -> np.ndarray:
  pairs = np.concatenate([video[:, :-1], video[:, 1:]], axis=-1)
  return np.stack([np.asarray(logits(clip)).argmax(axis=-1) for clip in pairs])


def _seen(pairs: jax.Array) -> jax.Array:
  """uint8 [N H W 6] -> float32 [N 64 64 6] in [-0.5, 0.5]."""
  x = pairs.astype(jnp.float32) / 255 - 0.5
  if x.shape[1:3] != (_SIDE, _SIDE):
    x = jax.image.resize(x, (len(x), _SIDE, _SIDE, x.shape[-1]), 'linear')
  return x
