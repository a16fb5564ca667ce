"""Tries meshes and batch sizes: a bound on memory rules some out, the compiler judges the rest."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from videogpt_jax.config import Experiment
from videogpt_jax.planning.chips import Topology
from videogpt_jax.planning.estimate import Estimate, attempt
from videogpt_jax.planning.programs import bytes_per_device, make_step, placed
from videogpt_jax.stages.shapes import stage_of
from videogpt_jax.training.sharding import MeshConfig, make_mesh, shardings
from videogpt_jax.training.step import init_state


class Tried(NamedTuple):
  """The outcome of a search.

  Attributes:
    found: the programs that fit, most clips per second first.
    n_candidates: number of meshes and batch sizes.
    n_hopeful: those that the bound on memory does not rule out.
    n_compiled: those that were compiled.
    least_memory: the smallest bound of all candidates, bytes a chip.
  """

  found: list[Estimate]
  n_candidates: int
  n_hopeful: int
  n_compiled: int
  least_memory: float


def search(
  name: str,
  experiment: Experiment,
  topology: Topology,
  devices: list,
  batch_sizes: Sequence[int],
  n_compile: int,
) -> Tried:
  """Compiles the candidates that may fit and communicate least.

  A step exchanges gradients over `data` once, parameters over `fsdp` in every pass, activations
  over `tensor` and `sequence` in every block. Candidates with small `sequence`, `tensor` and `fsdp`
  are compiled first, large batches before small ones.

  Args:
    name: 'vqvae' or 'prior'.
    experiment: the configuration.
    topology: the slice.
    devices: of the slice.
    batch_sizes: to try.
    n_compile: how many candidates to compile at most.
  """
  bounds = dict(_candidates(name, experiment, topology.n_chips, devices, batch_sizes))
  hopeful = [candidate for candidate in bounds if bounds[candidate] <= topology.chip.usable]
  hopeful.sort(key=lambda c: (c[0].sequence, c[0].tensor, c[0].fsdp, -c[1]))
  steps = (make_step(name, experiment, make_mesh(m, devices), n) for m, n in hopeful[:n_compile])
  found = [e for step in steps if isinstance(e := attempt(step, topology), Estimate)]
  found.sort(key=lambda e: -e.clips_per_second)
  least = min(bounds.values(), default=math.inf)
  return Tried(found, len(bounds), len(hopeful), min(n_compile, len(hopeful)), least)


def _candidates(
  name: str, experiment: Experiment, n_chips: int, devices: list, batch_sizes: Sequence[int]
) -> Iterator[tuple[tuple[MeshConfig, int], float]]:
  """Yields meshes and batch sizes, with the bytes a chip that they need at least: state, gradients,
  and the input of each block of the prior, kept for its gradient."""
  stage, training = stage_of(name, experiment)
  init = functools.partial(init_state, stage, training.optimizer, training.steps)
  state = jax.eval_shape(init, jax.random.key(0))
  prior, L = experiment.prior, math.prod(experiment.codes.latent_shape)
  inputs = L * prior.hidden_dim * prior.n_layers * jnp.dtype(prior.dtype).itemsize
  divisors = [n for n in range(1, n_chips + 1) if n_chips % n == 0]
  for fsdp, tensor, sequence in itertools.product(divisors, repeat=3):
    cuts = tensor * sequence
    unused = cuts > 1 if name == 'vqvae' else prior.n_heads % cuts or L % sequence
    if n_chips % (fsdp * cuts) or unused:
      continue
    sizes = MeshConfig(n_chips // (fsdp * cuts), fsdp, tensor, sequence)
    there = jax.tree.map(placed, state, shardings(state, make_mesh(sizes, devices)))
    shares = sizes.data * fsdp * training.grad_accum_steps
    for batch_size in batch_sizes:
      if batch_size % shares == 0:
        clips = batch_size // shares / sequence if name == 'prior' else 0
        memory = bytes_per_device(there) + bytes_per_device(there.params) + clips * inputs
        yield (sizes, batch_size), memory
