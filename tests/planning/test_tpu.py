"""Programs compiled for TPUs: memory, work and exchange of full-size models."""

import dataclasses
import functools
import importlib
import math

import pytest

from tests import tiny_config
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.planning import candidates, compiler, cost, hlo, plans
from videogpt_jax.planning.chips import CHIPS, GIB, parse_topology
from videogpt_jax.planning.collectives import by_kind, collectives
from videogpt_jax.planning.compiler import DoesNotFitError
from videogpt_jax.planning.estimate import Estimate, attempt, estimate
from videogpt_jax.planning.fitting import largest_batch, remedies
from videogpt_jax.planning.programs import make_step
from videogpt_jax.training.sharding import MeshConfig, make_mesh

pytestmark = pytest.mark.skipif(bool(compiler.missing()), reason=compiler.MISSING)


def experiment(name, *argument, **changes):
  config = importlib.import_module(name).get_config(*argument)
  config.update(changes)
  return from_dict(config)


def step(name, config, topology, sizes, batch_size=None):
  mesh = make_mesh(MeshConfig(*sizes), compiler.devices(parse_topology(topology)))
  return make_step(name, config, mesh, batch_size)


@functools.cache
def planned(stage, name, topology, sizes, batch_size=None):
  """A plan of a configuration, its prior on codes."""
  config = experiment(name, prior_codes='codes')
  return attempt(step(stage, config, topology, sizes, batch_size), parse_topology(topology))


def test_a_slice_may_be_one_chip():
  for name in ('v5e:1x1', 'v6e:1x1'):
    assert len(compiler.devices(parse_topology(name))) == 1


@pytest.mark.parametrize('chip', CHIPS)
def test_every_chip_is_known_to_the_compiler(chip):
  topology = parse_topology(f'{chip}:2x2' + ('' if chip in ('v5e', 'v6e') else 'x1'))
  assert len(compiler.devices(topology)) == topology.n_chips == 4


def test_a_plan_adds_up_all_clips_and_draws_of_a_video():
  topology = parse_topology('v5e:2x2')

  def sampler(name='sample', **settings):
    config = from_dict(tiny_config.get_config())
    config = dataclasses.replace(config, sample=dataclasses.replace(config.sample, **settings))
    return estimate(step(name, config, 'v5e:2x2', (4, 1, 1)), topology)

  one, several = sampler(), sampler(num_frames=7, best_of=2)
  later = sampler('sample_later', num_frames=7)
  assert several.hbm_bytes == 2 * one.hbm_bytes + 2 * later.hbm_bytes  # two later clips
  assert several.ici_seconds == pytest.approx(2 * one.ici_seconds + 2 * later.ici_seconds)
  assert several.peak == max(one.peak, later.peak)


def test_a_small_plan_adds_up():
  config = from_dict(tiny_config.get_config())
  found = estimate(step('prior', config, 'v5e:2x2', (2, 2, 1)), parse_topology('v5e:2x2'))
  assert 0 < sum(found.parts.values()) <= found.peak < found.topology.chip.usable
  assert found.parts['optimiser state'] == pytest.approx(2 * found.parts['parameters'], rel=0.01)
  assert {c.axes for c in found.collectives} <= {('fsdp',), ('data',), ('data', 'fsdp')}
  assert found.flops > 0 and found.hbm_bytes > found.parts['parameters']
  assert 0 < found.utilisation < 1 and 0 < found.communication_share < 1


@pytest.mark.slow
def test_the_full_size_bair_prior_fits_eight_v5e_chips_recomputing_its_blocks():
  config = experiment('configs.bair', prior_codes='codes')
  config = dataclasses.replace(config, prior=dataclasses.replace(config.prior, remat='full'))
  there = step('prior', config, 'v5e:2x4', (8, 1, 1))
  found = attempt(there, parse_topology('v5e:2x4'))
  assert isinstance(found, Estimate), found
  assert found.parts['parameters'] == pytest.approx(0.403 * GIB, rel=0.02)  # 108.1 million
  assert found.peak <= found.topology.chip.usable
  (kind,) = {c.kind for c in found.collectives}
  assert kind == 'all-reduce'


def test_what_does_not_fit_says_by_how_much_and_what_would():
  config = experiment('configs.scale.prior_100m', prior_codes='codes')
  there = step('prior', config, 'v5e:2x2', (4, 1, 1), batch_size=512)
  error = attempt(there, parse_topology('v5e:2x2'))
  assert isinstance(error, DoesNotFitError)
  assert error.needed > error.available == CHIPS['v5e'].usable
  ways = remedies(there, error, parse_topology('v5e:2x2'), largest=64)
  assert '--config.prior_training.grad_accum_steps=2 or more' in ways
  assert '--config.prior_training.batch_size=64' in ways
  assert any(way.startswith('--topology=v5e:') for way in ways)


def test_fsdp_divides_memory_by_the_chips():
  """Bytes a chip of what is stored: placed on slices, nothing compiled."""
  config = experiment('configs.scale.prior_1b', prior_codes='codes')
  held = {}
  for topology, n in (('v5p:2x2x1', 4), ('v5p:2x4x4', 32), ('v5p:4x4x8', 128)):
    parts = step('prior', config, topology, (1, n, 1), batch_size=128).part_bytes()
    held[n] = parts['parameters'] + parts['optimiser state']
  # What no rule shares out, norms and tables, is 0.05 % of the parameters and on every chip.
  for n in (32, 128):
    assert held[n] == pytest.approx(held[4] * 4 / n, rel=0.05)


@pytest.mark.slow
def test_what_is_read_before_there_is_machine_code_is_the_program_that_runs():
  topology = parse_topology('v5e:2x2')
  there = step('prior', from_dict(tiny_config.get_config()), 'v5e:2x2', (2, 2, 1))
  early = compiler.compile_step(there, topology)
  whole = there.lower().compile()
  programs = [hlo.parse(text) for text in (early.text, whole.as_text())]
  assert len({cost.flops(program) for program in programs}) == 1
  loops = [{i.name: n for i, n, _ in program if i.opcode == 'fusion'} for program in programs]
  assert loops[0] == loops[1]
  exchanged = [by_kind(collectives(program, there.mesh.shape)) for program in programs]
  assert exchanged[0] == exchanged[1]
  memory = whole.memory_analysis()
  assert early.arguments == memory.argument_size_in_bytes
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  assert early.peak == early.arguments + early.temporaries + results
  assert early.temporaries > 0  # memory_analysis is no measure: it states 0 for this program


@pytest.mark.slow
def test_a_search_ranks_what_fits():
  config = from_dict(tiny_config.get_config())
  topology = parse_topology('v5e:2x2')
  tried = candidates.search('prior', config, topology, compiler.devices(topology), [8], 2)
  assert tried.n_compiled == len(tried.found) == 2 < tried.n_candidates
  assert tried.found[0].clips_per_second >= tried.found[1].clips_per_second


def bair(**prior):
  config = experiment('configs.bair')
  return dataclasses.replace(config, prior=dataclasses.replace(config.prior, **prior))


def bair_of_videogpt():
  """BAIR's sizes with the models of the published VideoGPT, attention dropout and all."""
  sizes = {'hidden_dim': 512, 'n_heads': 4, 'n_layers': 8, 'mlp_dim': 2048, 'attn_type': 'sparse'}
  sizes |= {'n_cond_frames': 1, 'resnet_depth': 34, 'resnet_dim': 512, 'remat': 'full'}
  vqvae = VQVAEConfig(n_codes=1024, downsample=(2, 2, 2))
  return dataclasses.replace(bair(), vqvae=vqvae, prior=PriorConfig(**sizes))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('topology', 'sizes', 'batch_size'), [('v5e:2x4', (8, 1, 1), 32), ('v5p:4x4x8', (32, 4, 1), 128)]
)
@pytest.mark.parametrize('stage', ['vqvae', 'prior', 'sample'])
def test_all_of_bair_fits_at_full_size(stage, topology, sizes, batch_size):
  there = step(stage, bair(remat='full'), topology, sizes, batch_size)
  found = attempt(there, parse_topology(topology))
  assert isinstance(found, Estimate), found
  assert sum(there.part_bytes().values()) < found.peak < found.topology.chip.usable
  assert found.flops > 0 and found.seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize('name', ['configs.bair', 'configs.ucf101'])
def test_full_attention_with_dropout_is_planned(name):
  """Its loops over blocks of keys have trip counts that are data."""
  config = experiment(name, prior_codes='codes')
  changes = {'attn_type': 'full', 'attn_dropout': 0.3, 'remat': 'full'}
  prior = dataclasses.replace(config.prior, **changes)
  config = dataclasses.replace(config, prior=prior)
  assert prior.attn_dropout
  found = estimate(step('prior', config, 'v5e:2x4', (8, 1, 1)), parse_topology('v5e:2x4'))
  L, D = math.prod(config.codes.latent_shape), prior.hidden_dim
  n = config.prior_training.batch_size / 8 * prior.n_layers
  # Blocks of 512: the diagonal ones are computed whole. Two products forward, recomputed, and five
  # backward. Each other product runs once forward, once recomputed (but for the block's last, whose
  # result the gradient does not need) and twice backward.
  attention = n * (2 + 2 + 5) * 2 * D * L * (L + 512) / 2
  kernels = n * 2 * L * (4 * 4 * D * D + (4 + 3) * D * prior.mlp_units)
  assert attention + kernels < found.flops - found.kernel_flops < 1.15 * (attention + kernels)


@pytest.mark.slow
@pytest.mark.parametrize(('stage', 'traffic'), [('vqvae', 19.6e9), ('prior', 166e9)])
def test_what_helps_cpus_does_not_cost_tpus(stage, traffic):
  """Bytes a chip of a step of 32 clips; both were a fifth to a half more for a time."""
  there = step(stage, bair_of_videogpt(), 'v5e:2x4', (8, 1, 1), 32)
  assert estimate(there, parse_topology('v5e:2x4')).hbm_bytes < 1.05 * traffic


@pytest.mark.slow
def test_the_bair_prior_needs_more_than_a_v5e_chip_with_all_activations_kept():
  there = step('prior', bair(), 'v5e:2x4', (8, 1, 1), 32)
  error = attempt(there, parse_topology('v5e:2x4'))
  assert isinstance(error, DoesNotFitError)
  assert error.needed == pytest.approx(18.8 * GIB, rel=0.02)
  ways = remedies(there, error, parse_topology('v5e:2x4'), largest=24)
  assert '--config.prior.remat=full' in ways  # which the test above has


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_full_size_bair_prior_becomes_machine_code():
  """The others stop where planning does; most of compiling is what follows."""
  there = step(
    'prior', dataclasses.replace(bair(remat='full'), prior_codes='codes'), 'v5e:2x4', (8, 1, 1)
  )
  memory = there.lower().compile().memory_analysis()
  assert memory.generated_code_size_in_bytes > 2**20
  assert memory.argument_size_in_bytes < 2 * GIB


@pytest.mark.slow
def test_the_7b_prior_fits_its_slice_and_not_eight_small_chips():
  found = planned('prior', 'configs.scale.prior_7b', 'v5p:4x4x8', (4, 32, 1))
  assert isinstance(found, Estimate), found
  # Parameters are gathered and gradients scattered, some in steps behind the products that use
  # them (collective-permute); heads and positions are not exchanged.
  assert {c.axes for c in found.collectives} <= {('fsdp',), ('data',), ('data', 'fsdp')}
  assert 'all-to-all' not in {c.kind for c in found.collectives}
  small = planned('prior', 'configs.scale.prior_7b', 'v5e:2x4', (1, 8, 1), 8)
  assert isinstance(small, DoesNotFitError)
  assert small.needed > small.available


@pytest.mark.slow
def test_fsdp_divides_the_peak_memory_of_the_1b_prior():
  peaks = {
    n: planned('prior', 'configs.scale.prior_1b', topology, (1, n, 1), n)
    for topology, n in (('v5p:2x2x1', 4), ('v5p:2x2x4', 16), ('v5p:4x4x4', 64))
  }
  state = {n: e.parts['parameters'] + e.parts['optimiser state'] for n, e in peaks.items()}
  # One clip a chip each: activations stay, the rest falls with the chips.
  falls = [peaks[4].peak - peaks[16].peak, peaks[16].peak - peaks[64].peak]
  assert falls[0] >= 0.9 * (state[4] - state[16])
  assert falls[1] >= 0.9 * (state[16] - state[64])


@pytest.mark.slow
def test_the_largest_batch_fits_and_a_larger_one_does_not():
  config = experiment('configs.scale.prior_100m', prior_codes='codes')
  topology = parse_topology('v5e:2x2')
  make = functools.partial(step, 'prior', config, 'v5e:2x2', (4, 1, 1))
  first = make(16)
  largest = largest_batch(make, attempt(first, topology), first, topology)
  assert isinstance(attempt(make(int(0.9 * largest) // 4 * 4), topology), Estimate)
  assert isinstance(attempt(make(int(1.1 * largest) // 4 * 4), topology), DoesNotFitError)


def test_plans_end_with_what_did_not_fit(monkeypatch):
  error = DoesNotFitError(20 * GIB, 15.75 * GIB)
  monkeypatch.setattr(plans, 'attempt', lambda step, topology: error)
  config = from_dict(tiny_config.get_config())
  texts = plans.plan(config, ['v5e:2x2'], ['prior'], with_largest_batch=False)
  with pytest.raises(UserError, match=r'v5e:2x2 .* needs 20.0 GiB a chip, 4.2 GiB more'):
    list(texts)
