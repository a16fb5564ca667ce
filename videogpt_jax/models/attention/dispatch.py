"""The one function that all attention of the prior goes through, and its choice of a kernel."""

from collections.abc import Callable

import jax

from videogpt_jax.models import placement
from videogpt_jax.models.attention import cudnn, triton
from videogpt_jax.models.attention.blockwise import blockwise_attention
from videogpt_jax.models.attention.cudnn import cudnn_attention
from videogpt_jax.models.attention.dense import dense_attention
from videogpt_jax.models.attention.dropout import Dropout
from videogpt_jax.models.attention.masks import CausalMask
from videogpt_jax.models.attention.splash import splash_attention
from videogpt_jax.models.attention.triton import triton_attention

BACKENDS = {
  'dense': ('cpu', 'gpu', 'tpu'),
  'blockwise': ('cpu', 'gpu', 'tpu'),
  'splash': ('tpu',),
  'cudnn': ('gpu',),
  'triton': ('gpu',),
}
"""The kernels, and the platforms that have them."""

_KERNELS: dict[str, Callable[..., jax.Array]] = {
  'dense': dense_attention,
  'blockwise': blockwise_attention,
  'splash': splash_attention,
  'cudnn': cudnn_attention,
  'triton': triton_attention,
}
"""All take q, k, v and a mask; those of WITH_DROPOUT also dropout."""

WITH_DROPOUT = ('dense', 'blockwise', 'triton')

SHORT = 512 * 512
"""Up to so many scores a head, all of them at once are quicker than block by block."""


def attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: CausalMask | None = None,
  *,
  dropout: Dropout | None = None,
  backend: str = 'auto',
) -> jax.Array:
  """Scaled dot-product attention, softmax in float32.

  Args:
    q: [B L N d].
    k: [B S N d].
    v: [B S N d'].
    mask: which keys a query attends to, then L = S; None: all.
    dropout: which weights are dropped, or None.
    backend: a key of `BACKENDS`, or 'auto': the platform's own kernel where it can, see `choose`.
  Returns:
    [B L N d'], in v's dtype.
  Raises:
    ValueError: this backend is not on this platform, or cannot do what is asked of it.
  Source: Vaswani et al. 2017, eq. 1.
  """
  name = choose(q, k, v, mask, dropout, backend)
  kernel = _KERNELS[name]
  axes = ('B l N d', 'B s N d', 'B s N e')  # small letters are not cut: every head is whole
  if dropout is None:
    attend = placement.per_shard(lambda *qkv: kernel(*qkv, mask), axes, axes[0])
    return attend(q, k, v)

  def with_dropout(q, k, v, seeds):
    return kernel(q, k, v, mask, Dropout(dropout.rate, seeds))

  attend = placement.per_shard(with_dropout, (*axes, 'B N'), axes[0])
  return attend(q, k, v, dropout.seeds)


def choose(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: CausalMask | None,
  dropout: Dropout | None,
  backend: str,
) -> str:
  """Returns the name of the kernel to use; see `attention`.

  'auto' takes dense where there are few scores; else splash on a TPU, unless weights are to be
  dropped; on a GPU cuDNN, or what that cannot do, triton; and blockwise for all the rest.
  """
  platform = placement.platform()
  check_backend(backend, platform, 0.0 if dropout is None else dropout.rate)
  obstacles = {'cudnn': cudnn.why_not(q, v, mask), 'triton': triton.why_not(mask)}
  if obstacles.get(backend):
    raise ValueError(
      f"prior.attn_backend {backend!r} cannot do {obstacles[backend]}, or set it to 'auto'"
    )
  if backend != 'auto':
    return backend
  if q.shape[1] * k.shape[1] <= SHORT:
    return 'dense'
  for name, platforms in BACKENDS.items():
    able = obstacles.get(name) is None and (dropout is None or name in WITH_DROPOUT)
    if platforms == (platform,) and able:
      return name
  return 'blockwise'


def check_backend(backend: str, platform: str | None, dropout_rate: float = 0.0):
  """Refuses a backend that does not exist, or not on this platform, or not with dropout.

  Args:
    platform: 'cpu', 'gpu' or 'tpu'; None if that is not known yet.
    dropout_rate: of attention weights.
  """
  known = ['auto', *(name for name, on in BACKENDS.items() if platform is None or platform in on)]
  if backend not in known:
    where = f' on {platform}' if backend in BACKENDS else ''
    raise ValueError(
      f'prior.attn_backend {backend!r} does not exist{where}; use {", ".join(known)}'
    )
  if dropout_rate and backend not in ('auto', *WITH_DROPOUT):
    able = [name for name in known if name in ('auto', *WITH_DROPOUT)]
    raise ValueError(
      f'prior.attn_backend {backend!r} has no attention dropout; give up one of the two: '
      f'set prior.attn_dropout ({dropout_rate}) to 0, or attn_backend to {" or ".join(able)}'
    )
