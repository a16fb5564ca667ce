"""From logits to codes: distributions with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.settings import SamplingSettings

P = np.array([0.05, 0.5, 0.15, 0.3], np.float32)


def frequencies(controls, n=20_000):
  logits = jnp.broadcast_to(jnp.log(P), (n, 4))
  codes = jax.jit(Controls.draw)(controls, logits, jax.random.split(jax.random.key(0), n))
  return np.bincount(codes, minlength=4) / n


@pytest.mark.parametrize(
  ('controls', 'expected'),
  [
    ({}, P),
    ({'temperature': 0}, [0, 1, 0, 0]),
    ({'temperature': 0.5}, P**2 / (P**2).sum()),
    ({'top_k': 2}, [0, 5 / 8, 0, 3 / 8]),
    ({'top_k': 4}, P),
    ({'top_p': 0.4}, [0, 1, 0, 0]),
    ({'top_p': 0.6}, [0, 5 / 8, 0, 3 / 8]),
    ({'top_p': 0.9}, P * [0, 1, 1, 1] / 0.95),
    ({'top_k': 3, 'top_p': 0.6}, [0, 5 / 8, 0, 3 / 8]),
  ],
)
def test_codes_are_drawn_with_the_probabilities_that_remain(controls, expected):
  np.testing.assert_allclose(
    frequencies(SamplingSettings(**controls).controls), expected, atol=0.015
  )


@pytest.mark.parametrize(
  ('controls', 'message'),
  [
    ({'temperature': -1}, r'temperature \(-1\) must not be negative'),
    ({'temperature': float('nan')}, 'temperature'),
    ({'top_k': 0}, r'top_k \(0\) must be in \[1, 4\]'),
    ({'top_k': 5}, r'top_k \(5\)'),
    ({'top_k': 2.5}, r'top_k \(2.5\) must be in \[1, 4\], a whole number'),
    ({'top_p': 0.0}, r'top_p \(0.0\) must be in \(0, 1\]'),
  ],
)
def test_values_out_of_range_are_refused(controls, message):
  with pytest.raises(ValueError, match=message):
    SamplingSettings(**controls).check(4, PriorConfig())
