"""Attention on NVIDIA GPUs: cuDNN's flash kernel, where it can."""

import jax
import jax.numpy as jnp

from videogpt_jax.models.attention.masks import CausalMask


def cudnn_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, mask: CausalMask | None = None
) -> jax.Array:
  """See `attention`."""
  return jax.nn.dot_product_attention(q, k, v, is_causal=mask is not None, implementation='cudnn')


def why_not(q: jax.Array, v: jax.Array, mask: CausalMask | None) -> str | None:
  """Returns what keeps cuDNN from this attention, or None.

  Its sizes: up to 128, on Hopper and later up to 256, by eights.
  """
  d, largest = q.shape[-1], 256 if _is_hopper() else 128
  if mask is not None and mask.layout is not None:
    return "attn_type 'sparse'; use 'full'"
  if q.dtype not in (jnp.bfloat16, jnp.float16):
    return f"dtype '{q.dtype}'; use 'bfloat16'"
  if d != v.shape[-1]:
    return f'values of another head size ({v.shape[-1]}) than keys ({d})'
  if d % 8 or d > largest:
    return f'head size {d}; use a multiple of 8 up to {largest}'
  return None


def _is_hopper() -> bool:
  """Whether the GPU at hand has compute capability 9.0 or more; not if there is none."""
  if jax.default_backend() != 'gpu':
    return False
  return float(jax.local_devices(backend='gpu')[0].compute_capability) >= 9
