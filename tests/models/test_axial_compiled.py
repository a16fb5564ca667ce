"""How much axial attention moves about: read from its compiled programs, forward and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.attention import AXIAL_FORMS, axial_gradient
from videogpt_jax.planning import compiler, cost, hlo
from videogpt_jax.planning.chips import parse_topology


def test_both_forms_compute_the_same():
  x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4, 12))
  ours, moved = (
    lowered.compile()(params, x, x)
    for lowered, params in (axial_gradient(form, x) for form in AXIAL_FORMS)
  )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, moved)


def test_on_cpu_an_axis_is_moved_once_each_way():
  """Height and time, there and back, forward and backward: 8, and none for a product."""
  x = jax.ShapeDtypeStruct((2, 4, 16, 32, 48), jnp.float32)
  counts = {
    form: axial_gradient(form, x)[0].compile().as_text().count(' transpose(')
    for form in AXIAL_FORMS
  }
  assert counts['ours'] <= 8 < counts['moved']


@pytest.mark.slow
@pytest.mark.skipif(bool(compiler.missing()), reason=compiler.MISSING)
@pytest.mark.parametrize('batch', [8, 32])
def test_on_a_tpu_less_goes_through_hbm_than_with_axes_moved_for_each_head(batch):
  """At 8 clips many arrays fit into the memory on the chip; at 32 few."""
  chip = compiler.devices(parse_topology('v5e:2x2'))[0]
  x = jax.ShapeDtypeStruct((batch, 4, 32, 32, 240), jnp.bfloat16)
  moved = {
    form: cost.hbm_bytes(hlo.parse(axial_gradient(form, x, chip)[0].compile().as_text()))
    for form in AXIAL_FORMS
  }
  assert 0 < moved['ours'] < 0.8 * moved['moved']
