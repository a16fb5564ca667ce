"""Attention on NVIDIA GPUs: the flash kernel of cuDNN."""

import jax
import jax.numpy as jnp

from videogpt_jax.models.attention.masks import CausalMask


def cudnn_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, mask: CausalMask | None = None
) -> jax.Array:
  """See `attention`."""
  return jax.nn.dot_product_attention(q, k, v, is_causal=mask is not None, implementation='cudnn')


def why_not(q: jax.Array, v: jax.Array, mask: CausalMask | None) -> str | None:
  """Returns why cuDNN cannot compute this attention, or None if it can.

  Head sizes are multiples of 8 up to 128, or up to 256 on Hopper and later.
  """
  capability = gpu_capability()
  if capability.startswith('gfx'):
    return f"an AMD GPU ({capability}); use 'triton'"
  d, largest = q.shape[-1], 256 if capability and float(capability) >= 9 else 128
  if mask is not None and mask.layout is not None:
    return "attn_type 'sparse'; use 'full'"
  if q.dtype not in (jnp.bfloat16, jnp.float16):
    return f"dtype '{q.dtype}'; use 'bfloat16'"
  if d != v.shape[-1]:
    return f'values of another head size ({v.shape[-1]}) than keys ({d})'
  if d % 8 or d > largest:
    return f'head size {d}; use a multiple of 8 up to {largest}'
  return None


def gpu_capability() -> str:
  """Returns the compute capability of the local GPU, '9.0' or on ROCm 'gfx942'; '' without one."""
  if jax.default_backend() != 'gpu':
    return ''
  return str(getattr(jax.local_devices(backend='gpu')[0], 'compute_capability', ''))
