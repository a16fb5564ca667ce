"""The mesh and the table."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from videogpt_jax.training.sharding import (
  MeshConfig,
  check_batch,
  check_prior,
  make_mesh,
  shardings,
)


def test_minus_one_takes_the_devices_that_are_left():
  assert dict(make_mesh(MeshConfig(-1, 2, 2)).shape) == {
    'data': 2,
    'fsdp': 2,
    'tensor': 2,
    'sequence': 1,
  }


@pytest.mark.parametrize('sizes', [(3, 1, 1), (-1, 3, 1), (16, 1, 1), (2, 2, 1)])
def test_meshes_that_do_not_fit_are_refused(sizes):
  with pytest.raises(ValueError, match='does not divide the 8 devices'):
    make_mesh(MeshConfig(*sizes))


def test_a_batch_that_cannot_be_shared_out_names_those_that_can():
  with pytest.raises(ValueError, match=r'batch_size \(12\) .* use 8 or 16'):
    check_batch(12, make_mesh(MeshConfig(4, 2, 1)))


def test_the_table_places_parameters_and_what_belongs_to_them():
  mesh = make_mesh(MeshConfig(2, 2, 2))
  kernel = jax.ShapeDtypeStruct((3, 8, 8), np.float32)
  odd = jax.ShapeDtypeStruct((3, 8, 7), np.float32)
  tree = {
    'mu': {
      'blocks': {
        'attn': {'query': {'kernel': kernel}, 'value': {'kernel': kernel}},
        'mlp_in': {'kernel': odd},
      }
    }
  }
  placed = shardings(tree, mesh)['mu']['blocks']
  for name in ('query', 'value'):
    assert placed['attn'][name]['kernel'].spec == P(None, 'fsdp', 'tensor')
  assert placed['mlp_in']['kernel'].spec == P(None, 'fsdp', None)


def test_heads_and_positions_that_cannot_be_shared_out_are_refused():
  mesh = make_mesh(MeshConfig(tensor=2, sequence=2))
  check_prior(8, 64, mesh)
  with pytest.raises(ValueError, match=r'n_heads \(6\) .* \(2 \* 2\); use 8 heads'):
    check_prior(6, 64, mesh)
  with pytest.raises(ValueError, match=r'the 63 codes .* mesh.sequence \(2\)'):
    check_prior(8, 63, mesh)
