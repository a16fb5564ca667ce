"""Costs and collectives read from compiled programs, against what is known."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax.models.attention import CausalMask, attention
from videogpt_jax.models.attention.schedule import make_schedule
from videogpt_jax.planning import cost, hlo
from videogpt_jax.planning.collectives import by_kind, collectives, device_groups


def compiled(f, *shapes):
  return jax.jit(f).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).compile()


def test_a_loops_body_counts_as_often_as_it_runs():
  def looped(x, w):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0]

  program = compiled(looped, (5, 16), (7, 16, 16))
  assert cost.flops(hlo.parse(program.as_text())) == 7 * 2 * 5 * 16 * 16
  # What this module is for: XLA's own count leaves the trips out.
  assert program.cost_analysis()['flops'] < 2 * 2 * 5 * 16 * 16


def test_nested_loops_multiply():
  def nested(x, w):
    inner = lambda x: jax.lax.fori_loop(0, 3, lambda i, x: jnp.sin(x @ w), x)
    return jax.lax.scan(lambda x, _: (inner(x), None), x, length=5)[0]

  assert cost.flops(hlo.parse(compiled(nested, (4, 8), (8, 8)).as_text())) == 15 * 2 * 4 * 8 * 8


def test_a_loop_whose_trip_count_is_data_needs_to_be_told_it():
  def looped(n, x, w):
    return jax.lax.fori_loop(0, n, lambda i, x: jnp.tanh(x @ w), x)

  n = jax.ShapeDtypeStruct((), jnp.int32)
  shapes = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 8), (8, 8)))
  text = jax.jit(looped).lower(n, *shapes).compile().as_text()
  assert cost.flops(hlo.parse(text, 2.5)) == 2.5 * 2 * 4 * 8 * 8
  with pytest.raises(ValueError, match='is not in its condition'):
    hlo.parse(text)


def test_blockwise_attention_counts_the_blocks_that_its_schedule_visits():
  B, L, N, d = 2, 1536, 3, 16
  schedule = make_schedule(L, L, CausalMask())
  assert list(schedule.steps) == [1, 2, 3]

  def loss(q, k, v):
    return attention(q, k, v, CausalMask(), backend='blockwise').sum()

  program = compiled(jax.grad(loss, (0, 1, 2)), *[(B, L, N, d)] * 3)
  found = cost.flops(hlo.parse(program.as_text(), schedule.steps.mean()))
  products = 2 + 5  # forward; backward with the scores computed again
  assert found == products * 2 * schedule.n_visited * schedule.block**2 * d * B * N


KERNELS = """HloModule attention

ENTRY %main (q: bf16[2,3,256,16], k: bf16[2,3,512,16], v: bf16[2,3,512,8]) -> f32[] {
  %mask = s8[1,1,1]{2,1,0} parameter(0)
  %q = bf16[2,3,256,16]{3,2,1,0} parameter(1)
  %k = bf16[2,3,512,16]{3,2,1,0} parameter(2)
  %v = bf16[2,3,512,8]{3,2,1,0} parameter(3)
  %lse = f32[2,3,1,256]{3,2,1,0} parameter(4)
  %do = bf16[2,3,256,8]{3,2,1,0} parameter(5)
  %forward = (f32[3,128,128]{2,1,0}, bf16[2,3,256,8]{3,2,1,0}, f32[2,3,256,128]{3,2,1,0}) custom-call(%mask, %q, %k, %v), custom_call_target="tpu_custom_call"
  %dq = (f32[3,128,16]{2,1,0}, bf16[2,3,256,16]{3,2,1,0}) custom-call(%mask, %q, %k, %v, %lse, %do, %lse), custom_call_target="tpu_custom_call"
  %dkv = (bf16[2,3,512,16]{3,2,1,0}, bf16[2,3,512,8]{3,2,1,0}) custom-call(%mask, %q, %k, %v, %lse, %do, %lse), custom_call_target="tpu_custom_call"
  ROOT %other = f32[] custom-call(), custom_call_target="Sharding"
}
"""  # noqa: E501


def test_attention_kernels_count_by_their_arguments():
  scores = 2 * 2 * 3 * 256 * 512
  forward, dq, dkv = 16 + 8, 16 + 8 + 16, 16 + 8 + 16 + 8
  cross = hlo.parse(KERNELS)
  assert cost.kernel_flops(cross, admitted=0.5) == scores * (forward + dq + dkv)
  # As many queries as keys: a mask rules out some of the scores.
  self_attention = hlo.parse(KERNELS.replace('512', '256'))
  assert cost.kernel_flops(self_attention, admitted=0.5) == scores / 4 * (forward + dq + dkv)
  with pytest.raises(ValueError, match='the kernel dq is not known'):
    cost.kernel_flops(hlo.parse(KERNELS.replace(', %lse, %do, %lse', ', %do', 1)), 1.0)


@pytest.mark.parametrize(
  ('stride', 'padding', 'dilation'), [(1, 'VALID', 1), (2, 'SAME', 1), (1, 'SAME', 2)]
)
def test_convolutions_count_as_in_xla(stride, padding, dilation):
  def convolve(x, w):
    return jax.lax.conv_general_dilated(
      x, w, (stride, stride), padding, rhs_dilation=(dilation, dilation),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )  # fmt: skip

  program = compiled(convolve, (2, 9, 10, 3), (3, 3, 3, 5))
  assert cost.flops(hlo.parse(program.as_text())) == program.cost_analysis()['flops']


def test_hbm_traffic_is_what_goes_in_and_out():
  n = 1 << 16
  read_and_written = cost.hbm_bytes(hlo.parse(compiled(lambda x: jnp.sin(x) * 2, (n,)).as_text()))
  assert read_and_written == 2 * 4 * n


def test_a_slice_of_a_stack_is_read_and_not_the_stack():
  def walk(stack):
    return jax.lax.scan(lambda s, x: (s + jnp.tanh(x), None), jnp.zeros(stack.shape[1]), stack)[0]

  moved = cost.hbm_bytes(hlo.parse(compiled(walk, (64, 4096)).as_text()))
  assert 64 * 4096 * 4 <= moved < 8 * 64 * 4096 * 4  # and not 64 times the whole


@pytest.mark.parametrize(
  ('text', 'groups'),
  [
    ('replica_groups={{0,2},{1,3}}, x', [[0, 2], [1, 3]]),
    ('replica_groups=[2,2]<=[4], x', [[0, 1], [2, 3]]),
    ('replica_groups=[2,2]<=[2,2]T(1,0), x', [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'a'}, x", [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}, x", [[0, 1], [2, 3]]),
    ('source_target_pairs={{0,1},{1,0}}, x', [[0, 1], [1, 0]]),
  ],
)
def test_groups_are_read_in_every_notation(text, groups):
  assert device_groups(text) == groups


def test_groups_in_an_unknown_notation_are_an_error():
  with pytest.raises(ValueError, match='unknown notation'):
    device_groups("replica_groups=mesh['a'=4] {'a':(2)2}, x")


def test_collectives_have_their_axes_counts_and_bytes():
  mesh = Mesh(np.asarray(jax.devices()[:8]).reshape(4, 2), ('data', 'tensor'))
  place = lambda *axes: NamedSharding(mesh, P(*axes))
  x = jax.ShapeDtypeStruct((16, 32), jnp.float32, sharding=place('data', 'tensor'))
  w = jax.ShapeDtypeStruct((5, 32, 32), jnp.float32, sharding=place(None, 'tensor', None))

  def looped(x, w):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0]

  program = jax.jit(looped, out_shardings=place('data', 'tensor')).lower(x, w).compile()
  found = list(collectives(hlo.parse(program.as_text()), mesh.shape))
  assert {c.axes for c in found} == {('tensor',)}
  assert {c.runs for c in found} == {5}
  sums = {c.payload for c in found if c.kind in ('all-reduce', 'reduce-scatter')}
  assert sums == {4 * 32 * 4}  # a device's four rows of the product
  count, sent = by_kind(c for c in found if c.kind == 'all-reduce')['all-reduce']
  assert (count, sent) == (5, 5 * 2 * 0.5 * 4 * 32 * 4)


UNROLLED = """HloModule unrolled

%body (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %p = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%p), index=1
  %w = f32[8,8]{1,0} constant({ {
}}, metadata={op_name="a mask, printed over several lines"})
  %two = s32[] constant(2)
  %y = f32[4,8]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %z = f32[4,8]{1,0:S(1)} dot(%y, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %j = s32[] add(%i, %two)
  ROOT %t = (s32[], f32[4,8]{1,0}) tuple(%j, %z)
}

%condition (q: (s32[], f32[4,8])) -> pred[] {
  %q = (s32[], f32[4,8]{1,0}) parameter(0)
  %n = s32[] constant(6)
  %k = s32[] get-tuple-element(%q), index=0
  ROOT %less = pred[] compare(%k, %n), direction=LT
}

ENTRY %main (a: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %a = (s32[], f32[4,8]{1,0}) parameter(0)
  ROOT %loop = (s32[], f32[4,8]{1,0}) while(%a), condition=%condition, body=%body
}
"""


def test_a_loop_that_the_compiler_has_unrolled_runs_half_as_often():
  program = hlo.parse(UNROLLED)
  assert {i.name: runs for i, runs, _ in program}['y'] == 3
  assert cost.flops(program) == 6 * 2 * 4 * 8 * 8


def test_what_stays_in_on_chip_memory_moves_nothing():
  program = hlo.parse(UNROLLED)
  x, w = 4 * 8 * 4, 8 * 8 * 4
  counter = 3 * (2 + 1) * 4 + 4 * (2 * 4 + 1)  # additions; comparisons, whose result is a byte
  assert cost.hbm_bytes(program) == 3 * ((x + w + x) + (x + w)) + counter


SLICED = """HloModule sliced

%async (p: f32[4096,64]) -> f32[1024,64] {
  %p = f32[4096,64]{1,0} parameter(0)
  ROOT %s = f32[1024,64]{1,0:S(1)} slice(%p), slice={[0:1024], [0:64]}
}

ENTRY %main (a: f32[4096,64]) -> f32[1024,64] {
  %a = f32[4096,64]{1,0} parameter(0)
  %start = ((f32[4096,64]{1,0}), f32[1024,64]{1,0:S(1)}, s32[]{:S(2)}) async-start(%a), calls=%async
  ROOT %done = f32[1024,64]{1,0:S(1)} async-done(%start)
}
"""


SHORT = re.sub(r'async-start(.*), calls=%async', r'slice-start\1, slice={[0:1024], [0:64]}', SLICED)
"""The same, as the TPU compiler writes it at its end."""


@pytest.mark.parametrize('text', [SLICED, SHORT.replace('async-done', 'slice-done')])
def test_a_slice_that_is_fetched_in_the_background_is_read_once(text):
  assert cost.hbm_bytes(hlo.parse(text)) == 1024 * 64 * 4
