"""A step exchanges what its mesh calls for, and nothing else: read from compiled programs.

What each axis of the mesh should need, for a prior of L blocks (training/sharding.py has the
tables). "Loop" operations run once a block.

| axis     | loop                                              | once |
|----------|---------------------------------------------------|------|
| data     | all-reduce of a block's gradients                 | of the others', loss and norm |
| fsdp     | all-gather of 6 kernels, forward and backward;    | the same of fc_in and fc_out |
|          | sum of a block's gradients over the batch's shares|      |
| tensor   | all-reduce of the outputs of attention and MLP,   | max and sums of the softmax over |
|          | and of the gradients of their inputs              | codes; fc_out's input gradient |
| sequence | all-to-all of queries, keys, values and output,   | shift by one position; sums of |
|          | forward and backward; sum of a block's gradients  | gradients, loss and norm |

On a TPU the sums over fsdp are reduce-scatters; the CPU's compiler has none and reduces to all.
"""

import collections
import dataclasses
import functools

import jax
import pytest

from tests import tiny_config
from videogpt_jax.config import from_dict
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.planning import hlo, programs
from videogpt_jax.planning.collectives import collectives
from videogpt_jax.training.sharding import MeshConfig, make_mesh

D, N_LAYERS, B, LENGTH, FLOAT = 32, 3, 8, 32, 4
PRIOR = PriorConfig(
  hidden_dim=D, n_heads=8, n_layers=N_LAYERS, dropout=0.0, attn_dropout=0.0, attn_backend='dense'
)
KERNELS = 4 * D * D + 2 * D * 4 * D
"""Entries of a block's kernels: queries, keys, values, output, and the two of the MLP."""

ACTIVATION = B * LENGTH * D * FLOAT
"""Bytes of the activations between blocks, all clips."""


@functools.cache
def exchanged(name, *sizes):
  """The collectives of a training step on a mesh."""
  config = from_dict(tiny_config.get_config())
  config = dataclasses.replace(config, prior=PRIOR, prior_codes='codes')
  mesh = make_mesh(MeshConfig(*sizes), jax.devices()[:8])
  compiled = programs.make_step(name, config, mesh).lower().compile()
  return tuple(collectives(hlo.parse(compiled.as_text()), mesh.shape))


def counts(found):
  """How many of each kind, in the loop and outside of it."""
  return collections.Counter((c.kind, 'loop' if c.runs == N_LAYERS else 'once') for c in found)


def loop_bytes(found, kind):
  return sum(c.payload for c in found if c.kind == kind and c.runs == N_LAYERS)


def test_data_sums_gradients_and_nothing_else():
  found = exchanged('prior', 8, 1, 1, 1)
  assert {c.axes for c in found} == {('data',)}
  assert counts(found) == {('all-reduce', 'loop'): 1, ('all-reduce', 'once'): 1}
  biases_and_norms = 6 * D + 4 * D  # of output and MLP; two norms
  assert loop_bytes(found, 'all-reduce') == (KERNELS + biases_and_norms) * FLOAT


def test_fsdp_gathers_each_kernel_twice_and_sums_gradients():
  found = exchanged('prior', 1, 8, 1, 1)
  assert {c.axes for c in found} == {('fsdp',)}
  assert counts(found) == {
    ('all-gather', 'loop'): 12,
    ('all-reduce', 'loop'): 1,
    ('all-gather', 'once'): 2,
    ('all-reduce', 'once'): 3,
  }
  assert loop_bytes(found, 'all-gather') == 2 * KERNELS * FLOAT
  once = sum(c.payload for c in found if c.runs == 1)
  assert once < 0.1 * N_LAYERS * KERNELS * FLOAT  # what is not in blocks is small here


def test_tensor_sums_the_outputs_of_each_half_of_a_block():
  found = exchanged('prior', 1, 1, 8, 1)
  assert {c.axes for c in found} == {('tensor',)}
  assert counts(found) == {('all-reduce', 'loop'): 4, ('all-reduce', 'once'): 4}
  # Two outputs; the gradients of the MLP's input, and of attention's as q, k and v see it.
  assert loop_bytes(found, 'all-reduce') == (2 + 1 + 3) * ACTIVATION


def test_sequence_exchanges_heads_for_positions():
  found = exchanged('prior', 1, 1, 1, 8)
  assert {c.axes for c in found} == {('sequence',)}
  moved = counts(found)
  assert moved[('all-to-all', 'loop')] == 8
  assert loop_bytes(found, 'all-to-all') == 8 * ACTIVATION / 8  # a device's share of each
  assert moved[('all-reduce', 'loop')] == 1
  assert loop_bytes(found, 'all-reduce') < 1.05 * KERNELS * FLOAT
  # The shift by one position crosses shares, and so does its gradient; the position tables' new
  # values are put together. All else in the loop would be unexplained.
  assert {key for key in moved if key[1] == 'loop'} == {
    ('all-to-all', 'loop'),
    ('all-reduce', 'loop'),
  }
  for c in found:
    if c.runs == 1 and c.kind != 'all-reduce':
      assert c.payload <= ACTIVATION / 8, c


def test_axes_together_exchange_what_each_does_alone():
  found = exchanged('prior', 2, 2, 2, 1)
  loops = [c for c in found if c.runs == N_LAYERS]
  assert {c.kind for c in loops} == {'all-gather', 'all-reduce'}
  assert sum(c.payload for c in loops if c.kind == 'all-gather') == 2 * KERNELS * FLOAT / 2
  # Activations are summed over tensor alone, gradients over data and fsdp alone.
  by_axes = collections.Counter()
  for c in loops:
    by_axes[c.kind, c.axes] += c.payload
  assert by_axes.pop(('all-gather', ('fsdp',)))
  assert by_axes.pop(('all-reduce', ('tensor',))) == (2 + 1 + 3) * ACTIVATION / 4
  assert {axes for _, axes in by_axes} <= {('data',), ('fsdp',), ('data', 'fsdp')}
  assert sum(by_axes.values()) < 2 * 1.1 * KERNELS * FLOAT / 2


def test_the_vqvae_sums_batch_statistics_codebook_and_gradients():
  """Over data there are only sums: of each batch norm's mean and variance and their gradients, of
  the codebook's assignments, and of the parameters' gradients."""
  found = exchanged('vqvae', 8, 1, 1, 1)
  assert {(c.kind, c.axes) for c in found} == {('all-reduce', ('data',))}
  statistics = [c for c in found if 'reduce_sum' in c.source and c.payload <= 4 * 64 * FLOAT]
  others = [c for c in found if c not in statistics]
  assert len(others) <= 6
  # Gradients of the parameters, once, and the sums of the codebook (codes, vectors, restarts).
  parameters = programs.bytes_per_device(_state('vqvae'))
  assert parameters <= sum(c.payload for c in others) < 1.1 * parameters + 4096


def _state(name):
  config = from_dict(tiny_config.get_config())
  mesh = make_mesh(MeshConfig(8, 1, 1, 1), jax.devices()[:8])
  return programs.make_step(name, config, mesh).parts['parameters']


@pytest.mark.parametrize('sizes', [(8, 1, 1, 1), (1, 8, 1, 1)], ids=str)
def test_the_vqvae_has_no_exchange_of_activations(sizes):
  """Whatever a step hands on is a parameter's share: clips stay where they are.

  Permuted are gradients of attention's kernels: the compiler makes those of queries, keys and
  values in one product, and passes each its part.
  """
  found = exchanged('vqvae', *sizes)
  kinds = {'all-reduce', 'all-gather', 'collective-permute'}
  assert {c.kind for c in found} <= (kinds if sizes[1] > 1 else {'all-reduce'})
  largest = max(leaf.size * FLOAT for leaf in jax.tree.leaves(_state('vqvae')))
  assert all(c.payload <= largest for c in found if c.kind != 'all-reduce')
