"""Tries meshes and batch sizes: bounds sort out the hopeless, the compiler judges the rest.

Letters: P parameters; B clips a device; L codes of a clip; D hidden units.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import jax

from videogpt_jax.config import Experiment
from videogpt_jax.planning.chips import Topology
from videogpt_jax.planning.estimate import Estimate
from videogpt_jax.planning.fitting import attempt
from videogpt_jax.planning.programs import bytes_per_device, make_step, stage_of
from videogpt_jax.training.sharding import MeshConfig, make_mesh, shardings
from videogpt_jax.training.step import init_state


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A mesh and a batch size, with what is known before compiling.

  Attributes:
    mesh: sizes of its axes.
    batch_size: clips a step.
    least_memory: bytes a chip that any program of it needs.
    exchange: about how many bytes a chip sends, a clip of the batch.
  """

  mesh: MeshConfig
  batch_size: int
  least_memory: float
  exchange: float


@dataclasses.dataclass(frozen=True)
class Tried:
  """What a search has come to.

  Attributes:
    found: the programs that fit, most clips a second first.
    n_candidates: meshes and batch sizes there are.
    n_hopeful: of these, those that the bounds do not rule out.
    n_compiled: of these, those that were compiled.
    least_memory: bytes a chip that the smallest of all candidates needs at least.
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
  """Compiles the candidates that send least a clip, of those that may fit.

  Args:
    name: 'vqvae' or 'prior'.
    experiment: whose step.
    topology: the slice.
    devices: of it.
    batch_sizes: to try.
    n_compile: how many to compile at most.
  """
  candidates = list(_candidates(name, experiment, topology, devices, batch_sizes))
  hopeful = [c for c in candidates if c.least_memory <= topology.chip.usable]
  hopeful.sort(key=lambda c: c.exchange)
  found = []
  for candidate in hopeful[:n_compile]:
    mesh = make_mesh(candidate.mesh, devices)
    tried = attempt(make_step(name, experiment, mesh, candidate.batch_size), topology)
    if isinstance(tried, Estimate):
      found.append(tried)
  found.sort(key=lambda e: -e.clips_per_second)
  least = min((c.least_memory for c in candidates), default=math.inf)
  return Tried(found, len(candidates), len(hopeful), min(n_compile, len(hopeful)), least)


def _candidates(name, experiment, topology, devices, batch_sizes) -> Iterator[Candidate]:
  stage, training = stage_of(name, experiment)
  init = functools.partial(init_state, stage, training.optimizer, training.steps)
  state = jax.eval_shape(init, jax.random.key(0))
  for sizes in _meshes(name, experiment, topology.n_chips):
    mesh = make_mesh(sizes, devices)
    placed = jax.tree.map(
      lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
      state,
      shardings(state, mesh),
    )
    state_bytes, params = bytes_per_device(placed), bytes_per_device(placed.params)
    for batch_size in batch_sizes:
      shares = sizes.data * sizes.fsdp * training.grad_accum_steps
      if batch_size % shares == 0:
        clips = batch_size // shares
        exchange = _exchange(name, experiment, sizes, params, clips) / batch_size
        memory = state_bytes + params + clips * _activations(name, experiment, sizes)
        yield Candidate(sizes, batch_size, memory, exchange)


def _meshes(name: str, experiment: Experiment, n_chips: int) -> Iterator[MeshConfig]:
  """All meshes of so many chips that this program can use."""
  divisors = [n for n in range(1, n_chips + 1) if n_chips % n == 0]
  heads, length = experiment.prior.n_heads, math.prod(experiment.codes.latent_shape)
  for fsdp, tensor, sequence in itertools.product(divisors, repeat=3):
    cuts = tensor * sequence
    if n_chips % (fsdp * cuts) or (name == 'vqvae' and cuts > 1):
      continue
    if heads % cuts == 0 and length % sequence == 0:
      yield MeshConfig(n_chips // (fsdp * cuts), fsdp, tensor, sequence)


def _activations(name: str, experiment: Experiment, mesh: MeshConfig) -> float:
  """Bytes a clip that must be kept for the gradient at least: each block's input."""
  if name != 'prior':
    return 0.0
  prior, L = experiment.prior, math.prod(experiment.codes.latent_shape)
  width = 2 if prior.dtype == 'bfloat16' else 4
  return L / mesh.sequence * prior.hidden_dim * prior.n_layers * width


def _exchange(
  name: str, experiment: Experiment, mesh: MeshConfig, params: int, clips: int
) -> float:
  """About how many bytes a chip sends in a step, around rings.

  Gradients are summed over `data` and `sequence`; over `fsdp` parameters are gathered for either
  pass and gradients scattered, in the type that is computed in; `tensor` sums two activations a
  block and pass; `sequence` exchanges four.
  """

  def ring(n: int) -> float:
    return (n - 1) / n

  computed = params // (2 if getattr(experiment, name).dtype == 'bfloat16' else 1)
  sent = 2 * params * ring(mesh.data * mesh.sequence) + 3 * computed * mesh.fsdp * ring(mesh.fsdp)
  if name == 'prior':
    prior, L = experiment.prior, math.prod(experiment.codes.latent_shape)
    width = 2 if prior.dtype == 'bfloat16' else 4
    x = clips * L / mesh.sequence * prior.hidden_dim * width
    passes = 2 if prior.remat == 'none' else 3
    sent += prior.n_layers * passes * 2 * 2 * x * ring(mesh.tensor)
    sent += prior.n_layers * passes * 4 * x * ring(mesh.sequence) / mesh.tensor
  return sent
