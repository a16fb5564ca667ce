"""The attention function of the prior, and the choice of a kernel for it."""

from collections.abc import Callable

import jax

from videogpt_jax.errors import UserError
from videogpt_jax.models import placement
from videogpt_jax.models.attention.blockwise import blockwise_attention
from videogpt_jax.models.attention.cudnn import cudnn_attention
from videogpt_jax.models.attention.cudnn import why_not as why_not_cudnn
from videogpt_jax.models.attention.dense import dense_attention
from videogpt_jax.models.attention.dropout import Dropout
from videogpt_jax.models.attention.masks import CausalMask

BACKENDS = {
  'dense': ('cpu', 'gpu', 'tpu'),
  'blockwise': ('cpu', 'gpu', 'tpu'),
  'splash': ('tpu',),
  'cudnn': ('gpu',),
  'triton': ('gpu',),
}
"""The kernels, and the platforms that have them."""

WITH_DROPOUT = ('dense', 'blockwise', 'triton')
"""Kernels that can drop attention weights."""

SHORT = 512 * 512
"""Scores of a head up to which the dense kernel is faster than any other."""


def _kernel(name: str) -> Callable[..., jax.Array]:
  """Returns a kernel of q, k, v and a mask; those in WITH_DROPOUT also take a dropout.

  Pallas kernels are imported here, when they are used: that takes half a second.
  """
  if name == 'splash':
    from videogpt_jax.models.attention.splash import splash_attention

    return splash_attention
  if name == 'triton':
    from videogpt_jax.models.attention.triton import triton_attention

    return triton_attention
  return {
    'dense': dense_attention,
    'blockwise': blockwise_attention,
    'cudnn': cudnn_attention,
  }[name]


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
    mask: the keys that each query attends to, with L = S; None attends to all keys.
    dropout: of the weights, or None.
    backend: a key of `BACKENDS`, or 'auto', see `choose`.
  Returns:
    [B L N d'], in v's dtype.
  Raises:
    UserError: the platform lacks this backend, or the backend cannot compute this attention.
  Source: Vaswani et al. 2017, eq. 1.
  """
  name = choose(q, k, v, mask, dropout, backend)
  kernel = _kernel(name)
  axes = ('B l N d', 'B s N d', 'B s N e')  # letters that no table shards: each head stays whole
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
  """Returns the name of the kernel to use; arguments are those of `attention`.

  'auto' is dense for up to `SHORT` scores. Otherwise it is the first kernel of this platform that
  can compute this attention: splash on a TPU, cuDNN or else Triton on a GPU, or else blockwise.
  """
  platform = placement.platform()
  check_backend(backend, platform, 0.0 if dropout is None else dropout.rate)
  obstacles = _obstacles(q, v, mask) if platform == 'gpu' else {}
  if obstacles.get(backend):
    raise UserError(
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


def _obstacles(q: jax.Array, v: jax.Array, mask: CausalMask | None) -> dict[str, str | None]:
  """Returns why each of a GPU's own kernels cannot compute this attention, or None."""
  from videogpt_jax.models.attention.triton import why_not as why_not_triton

  return {'cudnn': why_not_cudnn(q, v, mask), 'triton': why_not_triton(mask)}


def check_backend(backend: str, platform: str | None, dropout_rate: float = 0.0):
  """Checks that a backend exists, on this platform and with dropout.

  Args:
    backend: a key of `BACKENDS`, or 'auto'.
    platform: 'cpu', 'gpu' or 'tpu', or None if it is not known yet.
    dropout_rate: of attention weights.
  Raises:
    UserError: it does not, with those that do.
  """
  known = ['auto', *(name for name, on in BACKENDS.items() if platform is None or platform in on)]
  if backend not in known:
    where = f' on {platform}' if backend in BACKENDS else ''
    raise UserError(f'prior.attn_backend {backend!r} does not exist{where}; use {", ".join(known)}')
  if dropout_rate and backend not in ('auto', *WITH_DROPOUT):
    able = [name for name in known if name in ('auto', *WITH_DROPOUT)]
    raise UserError(
      f'prior.attn_backend {backend!r} has no attention dropout; give up one of the two: '
      f'set prior.attn_dropout ({dropout_rate}) to 0, or attn_backend to {" or ".join(able)}'
    )
