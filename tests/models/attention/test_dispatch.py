"""Which kernel is chosen; what cannot be done is refused, with what could be."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from videogpt_jax.errors import UserError
from videogpt_jax.models import placement
from videogpt_jax.models.attention import (
  CausalMask,
  attention,
  check_backend,
  choose,
  cudnn,
  make_dropout,
  strided_mask,
)
from videogpt_jax.models.transformer import PriorConfig

LONG = jax.ShapeDtypeStruct((2, 4096, 4, 128), jnp.bfloat16)
STRIDED = strided_mask((4, 32, 32), 32, 4)


def chosen(platform, monkeypatch, mask=None, rate=0.0, like=LONG, backend='auto'):
  monkeypatch.setattr(placement, 'platform', lambda: platform)
  drop = make_dropout(rate, jax.random.key(0), 2, 4)
  return choose(like, like, like, mask, drop, backend)


def test_the_platform_and_what_is_asked_for_choose_the_kernel(monkeypatch):
  causal = CausalMask()
  assert chosen('tpu', monkeypatch, causal) == 'splash'
  assert chosen('tpu', monkeypatch, STRIDED) == 'splash'
  assert chosen('tpu', monkeypatch, causal, rate=0.1) == 'blockwise'
  assert chosen('cpu', monkeypatch, causal) == 'blockwise'
  assert chosen('gpu', monkeypatch, causal) == 'cudnn'
  assert chosen('gpu', monkeypatch, STRIDED) == 'triton'
  assert chosen('gpu', monkeypatch, causal, rate=0.1) == 'triton'
  assert chosen('gpu', monkeypatch, strided_mask((4, 32, 32), 8, 4), rate=0.1) == 'blockwise'
  for platform in ('cpu', 'gpu', 'tpu'):
    short = jax.ShapeDtypeStruct((2, 1, 4, 128), jnp.bfloat16)
    assert chosen(platform, monkeypatch, causal, like=short) == 'dense'


def test_cudnn_takes_larger_heads_on_hopper_only(monkeypatch):
  heads = jax.ShapeDtypeStruct((2, 4096, 4, 144), jnp.bfloat16)
  assert chosen('gpu', monkeypatch, CausalMask(), like=heads) == 'triton'
  with pytest.raises(UserError, match=r"'cudnn' cannot do head size 144; .* up to 128, or set"):
    chosen('gpu', monkeypatch, CausalMask(), like=heads, backend='cudnn')
  monkeypatch.setattr(cudnn, 'gpu_capability', lambda: '9.0')
  assert chosen('gpu', monkeypatch, CausalMask(), like=heads) == 'cudnn'


@pytest.mark.parametrize(
  ('capability', 'largest'), [('', 128), ('8.9', 128), ('9.0', 256), ('10.0', 256), ('12.1', 256)]
)
def test_cudnn_head_sizes_follow_from_the_compute_capability(capability, largest, monkeypatch):
  monkeypatch.setattr(cudnn, 'gpu_capability', lambda: capability)
  for size, able in [(128, True), (256, largest == 256), (264, False)]:
    heads = jax.ShapeDtypeStruct((2, 4096, 4, size), jnp.bfloat16)
    assert (cudnn.why_not(heads, heads, None) is None) == able


def test_on_an_amd_gpu_the_kernel_is_triton(monkeypatch):
  """Its compute capability is no number."""
  monkeypatch.setattr(cudnn, 'gpu_capability', lambda: 'gfx942:sramecc+:xnack-')
  assert chosen('gpu', monkeypatch, CausalMask()) == 'triton'
  with pytest.raises(UserError, match=r"'cudnn' cannot do an AMD GPU \(gfx942.*; use 'triton'"):
    chosen('gpu', monkeypatch, CausalMask(), backend='cudnn')


def test_pallas_is_imported_when_a_kernel_is_used():
  code = """
import sys, jax, jax.numpy as jnp, videogpt_jax, videogpt_jax.models.prior
from videogpt_jax.models.attention import attention
from videogpt_jax.models import placement
pallas = 'jax.experimental.pallas'
x = jnp.ones((1, 1024, 1, 8))
jax.eval_shape(attention, x, x, x)
assert pallas not in sys.modules
placement.platform = lambda: 'gpu'
jax.eval_shape(lambda *qkv: attention(*qkv), x, x, x)
assert pallas in sys.modules
"""
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_backend_that_is_not_there_lists_those_that_are(monkeypatch):
  with pytest.raises(UserError, match=r"'flash' does not exist; use .*splash, cudnn, triton"):
    PriorConfig(attn_backend='flash')
  with pytest.raises(UserError, match=r'does not exist on cpu; use auto, dense, blockwise$'):
    chosen('cpu', monkeypatch, backend='splash')


def test_dropout_and_a_backend_without_it_exclude_each_other():
  with pytest.raises(UserError, match=r'give up one of the two: .*attn_dropout \(0.3\) to 0, or'):
    PriorConfig(attn_backend='splash', attn_dropout=0.3)
  PriorConfig(attn_backend='splash', attn_dropout=0.0)
  check_backend('blockwise', 'tpu', 0.3)


def test_the_placement_says_what_is_compiled_for():
  devices = jax.devices()
  assert placement.platform() == 'cpu'

  class Chip:
    platform = 'tpu'

  class Chips:
    devices, size = np.array([Chip()]), 1

  with placement.placed(Chips, {}), placement.placed(None, {}):
    assert placement.platform() == 'tpu'
  with placement.placed(Mesh(np.array(devices[:2]), ('data',)), {}):
    assert placement.platform() == 'cpu'


@pytest.mark.parametrize('mask', [CausalMask(), strided_mask((2, 8, 16), 16, 2)])
def test_eight_devices_drop_and_compute_what_one_does(mask):
  mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ('data', 'tensor'))
  q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 256, 4, 8))

  def run(q, k, v, mesh):
    with placement.placed(mesh, {'B': ('data',), 'N': ('tensor',), 'L': ('tensor',)}):
      drop = make_dropout(0.3, jax.random.key(1), 2, 4)
      return attention(q, k, v, mask, dropout=drop, backend='blockwise')

  alone, together = (jax.jit(lambda *qkv, m=m: run(*qkv, m))(q, k, v) for m in (None, mesh))
  np.testing.assert_allclose(alone, together, atol=1e-5)


def test_a_gpu_program_asks_cudnn_for_it(tmp_path):
  """The whole path but for the GPU and its compiler.

  JAX asks its CUDA plugin for the version of cuDNN; a package of that name answers here.
  """
  plugin = tmp_path / 'jax_cuda13_plugin'
  plugin.mkdir()
  (plugin / '__init__.py').touch()
  (plugin / '_versions.py').write_text('cudnn_get_version = lambda: 91300')
  code = """
import jax, jax.numpy as jnp
from videogpt_jax.models import placement
from videogpt_jax.models.attention import CausalMask, attention
placement.platform = lambda: 'gpu'
like = jax.ShapeDtypeStruct((2, 4096, 4, 128), jnp.bfloat16)
for mask in (CausalMask(), None):
  f = jax.jit(jax.grad(lambda q, k, v: attention(q, k, v, mask).astype(jnp.float32).sum()))
  text = f.trace(like, like, like).lower(lowering_platforms=('cuda',)).as_text()
  assert 'cudnn$fmhaSoftmax' in text
  assert 'cudnn$fmhaSoftmaxBackward' in text
"""
  paths = os.pathsep.join([str(tmp_path), *sys.path])
  subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': paths}, check=True)


@pytest.mark.parametrize(
  ('head_size', 'dtype'), [(64, 'bfloat16'), (144, 'bfloat16'), (144, 'float32')]
)
@pytest.mark.parametrize('mask', [CausalMask(), STRIDED, None])
def test_a_gpu_program_holds_the_pallas_kernel_where_cudnn_cannot(
  mask, head_size, dtype, monkeypatch
):
  monkeypatch.setattr(placement, 'platform', lambda: 'gpu')
  like = jax.ShapeDtypeStruct((2, 4096, 4, head_size), dtype)

  def loss(q, k, v):
    drop = make_dropout(0.3, jax.random.key(0), 2, 4)
    return attention(q, k, v, mask, dropout=drop).astype(jnp.float32).sum()

  traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(like, like, like)
  try:
    text = traced.lower(lowering_platforms=('cuda',)).as_text()
  except RuntimeError as error:
    pytest.skip(f'JAX 0.11 lowers Triton kernels with a GPU at hand only: {error}')
  assert text.count('triton') >= 3  # forward, queries, keys and values
