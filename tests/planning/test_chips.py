"""Chips and slices."""

import pytest

from videogpt_jax.planning.chips import CHIPS, parse_topology


def test_a_slice_has_its_chips():
  assert parse_topology('v5e:4x8').n_chips == 32
  assert parse_topology('v5p:4x4x8').n_chips == 128
  assert parse_topology('v5p:4x4x8').name == 'v5p:4x4x8'


@pytest.mark.parametrize('text', ['v5e:3x5', 'v5e', 'v5e:2x2x2', 'v5p:2x4'])
def test_a_slice_that_does_not_exist_lists_those_that_do(text):
  with pytest.raises(ValueError, match=f'does not exist; slices of {text[:3]} are {text[:3]}:'):
    parse_topology(text)


def test_a_chip_that_does_not_exist_lists_those_that_do():
  with pytest.raises(ValueError, match=r"'v9' is not one of v4, v5e, v5p, v6e"):
    parse_topology('v9:2x2')


def test_rings_close_in_whole_cubes_and_whole_sides_only():
  closed = [parse_topology(t).wraps for t in ('v5p:4x4x4', 'v5p:2x4x4', 'v5e:16x16', 'v5e:8x16')]
  assert closed == [True, False, True, False]


def test_a_ring_has_two_of_a_chips_links():
  # One way over each link: 50 GB/s on v4 and v5e, 100 on v5p and v6e; a ring has two of them.
  assert {n: chip.ring_bandwidth / 1e9 for n, chip in CHIPS.items()} == {
    'v4': 100, 'v5e': 100, 'v5p': 200, 'v6e': 200,
  }  # fmt: skip
