"""The programs that are planned are those that a run compiles."""

import dataclasses

import jax
import pytest

from tests import tiny_config
from videogpt_jax.config import from_dict
from videogpt_jax.input.pipeline import train_batches
from videogpt_jax.planning import programs
from videogpt_jax.training.sharding import MeshConfig, make_mesh


def experiment(cond_dropout=0.0, **sample):
  config = from_dict(tiny_config.get_config())
  return dataclasses.replace(
    config,
    prior=dataclasses.replace(config.prior, cond_dropout=cond_dropout),
    sample=dataclasses.replace(config.sample, **sample),
  )


@pytest.mark.parametrize('name', ['vqvae', 'prior'])
def test_a_planned_batch_is_what_the_pipeline_delivers(name):
  config = experiment()
  mesh = make_mesh(MeshConfig(2), jax.devices()[:2])
  planned = programs.make_step(name, config, mesh, batch_size=6).parts['batch']
  batch = next(iter(train_batches(config.dataset, batch_size=6, seed=0)))
  assert set(planned) == ({'video'} if name == 'vqvae' else {'video', 'label'}) <= set(batch)
  for key, leaf in planned.items():
    assert (leaf.shape, leaf.dtype) == (batch[key].shape, batch[key].dtype)


def sampler_flops(config):
  mesh = make_mesh(MeshConfig(2), jax.devices()[:2])
  return programs.make_step('sample', config, mesh).lower().cost_analysis()['flops']


def test_guidance_doubles_the_rows_of_the_sampler():
  plain, guided = (sampler_flops(experiment(0.1, guidance=g)) for g in (1.0, 2.0))
  assert guided == pytest.approx(2 * plain, rel=0.1)


def test_the_sampler_has_what_its_settings_ask_for():
  assert sampler_flops(experiment(temperature=0)) < sampler_flops(experiment())
  assert sampler_flops(experiment(top_k=3)) > sampler_flops(experiment())


def given(step):
  return step.parts['batch'][2]


def test_longer_videos_and_several_draws_run_the_sampler_more_often():
  """Clips of 4 frames share 2, one latent frame of 4 x 4 codes."""
  mesh = make_mesh(MeshConfig(2), jax.devices()[:2])
  make = lambda **sample: programs.make_step('sample', experiment(**sample), mesh)
  first = make()
  assert (first.runs, first.then, first.unit, given(first)) == (1, None, 'clips', None)
  assert (make(best_of=3).runs, make(best_of=3).unit) == (3, 'clips, best of 3')
  longer = make(num_frames=7, best_of=2)
  assert (longer.runs, longer.then.runs) == (2, 4)
  assert longer.unit == 'videos of 3 clips, best of 2'
  assert given(longer) is None and given(longer.then).shape == (4, 16)
  assert longer.then.lower().as_text() != longer.lower().as_text()
  assert 'sequentially' in make(strategy='speculative').unit


def test_a_prior_of_masked_codes_is_planned_with_its_passes():
  def lowered(passes):
    config = experiment()
    prior = dataclasses.replace(config.prior, target='masked')
    sample = dataclasses.replace(config.sample, passes=passes)
    mesh = make_mesh(MeshConfig(2), jax.devices()[:2])
    config = dataclasses.replace(config, prior=prior, sample=sample)
    step = programs.make_step('sample', config, mesh)
    assert step.unit == 'clips'
    return step.lower().as_text()

  assert lowered(3) == lowered(3) != lowered(4)


def test_clips_that_keep_no_codes_run_the_sampler_of_the_first():
  config = experiment(num_frames=7)
  config = dataclasses.replace(
    config,
    vqvae=dataclasses.replace(config.vqvae, downsample=(4, 4, 4)),
    prior=dataclasses.replace(config.prior, n_cond_frames=1),
  )
  step = programs.make_step('sample', config, make_mesh(MeshConfig(), jax.devices()[:1]))
  assert (step.runs, step.then, step.unit) == (2, None, 'videos of 2 clips')
