"""Training on: more steps of a finished stage, and a stage that begins with another's model."""

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from tests.goldens.golden import HERE as GOLDENS
from tests.legacy.config import get_config
from tests.training import pair
from tests.training.tiny import ListLog, data, leaves
from videogpt_jax import drift, exchange, workdir
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.interop import published
from videogpt_jax.loading import load_videogpt, load_vqvae
from videogpt_jax.stages import init_from, shapes
from videogpt_jax.stages.run import run
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit, prepare
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh
from videogpt_jax.training.vqvae_loss import LossConfig

LEGACY = Path('tests/legacy/workdir.zip')

EXPERIMENT = from_dict(get_config())


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """A workdir whose VQ-VAE has ended and whose prior has done 2 of 4 steps."""
  folder = tmp_path_factory.mktemp('source')
  zipfile.ZipFile(LEGACY).extractall(folder)
  return folder / 'run'


def with_training(experiment, stage, **changes):
  section = f'{stage}_training'
  changed = dataclasses.replace(getattr(experiment, section), **changes)
  return dataclasses.replace(experiment, **{section: changed})


def arrays(model):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(model.state)]


def assert_equal(found, wanted):
  for a, b in zip(arrays(found), arrays(wanted), strict=True):
    np.testing.assert_array_equal(a, b)


def test_more_steps_end_as_a_run_of_as_many_does(tmp_path):
  config = TrainingConfig(
    steps=6,
    batch_size=8,
    optimizer=OptimizerConfig(learning_rate=1e-3, schedule='constant', ema_decay=0.9),
    evaluate_every=100,
    evaluate_batches=1,
    checkpoint_every=100,
  )
  stage = pair.make_stage(pair.GENERATOR, pair.DISCRIMINATOR)
  mesh, ended = make_mesh(MeshConfig(), jax.devices()[:1]), {}
  for name, lengths in {'whole': [6], 'raised': [3, 6]}.items():
    for steps in lengths:
      with Checkpoints(tmp_path / name) as checkpoints:
        shorter = dataclasses.replace(config, steps=steps)
        ended[name] = fit(stage, shorter, data(), mesh, checkpoints, ListLog('generator/loss'))
  for a, b in zip(leaves(ended['whole']), leaves(ended['raised']), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  ('schedule', 'said'),
  [
    ('constant', '8 steps instead of 4, 2 of them done; it ends as a run of 8 steps from the'),
    ('cosine', r'now ends at step 8, so the learning rate goes from 0.00015 up to 0.000256; '),
  ],
)
def test_steps_may_be_raised_and_what_that_means_is_said(schedule, said, source, tmp_path):
  path = epath.Path(tmp_path / 'run')
  shutil.copytree(source, path)
  optimizer = OptimizerConfig(learning_rate=3e-4, schedule=schedule)
  old = with_training(EXPERIMENT, 'prior', optimizer=optimizer, steps=4)
  (path / 'config.json').write_text(json.dumps(dataclasses.asdict(old)))
  assert workdir.claim(path, old) == []
  notes = workdir.claim(path, with_training(old, 'prior', steps=8))
  assert notes[0] == 'configuration: prior_training.steps 4 -> 8'
  assert said in notes[1]
  assert workdir.steps_done(path, 'prior') == (2, 8)
  with pytest.raises(UserError, match=r'prior_training.steps is 8 there and 4 here; .* set back'):
    workdir.claim(path, old)
  # The prior depends on the VQ-VAE as it is.
  with pytest.raises(UserError, match=r'holds prior checkpoints .*vqvae_training.steps is 4'):
    workdir.claim(path, with_training(with_training(old, 'prior', steps=8), 'vqvae', steps=9))


def test_every_change_is_told_and_every_refused_one_named(tmp_path):
  path, first = epath.Path(tmp_path), Experiment()
  workdir.claim(path, first)
  (path / 'vqvae' / 'checkpoints' / '3').mkdir(parents=True)
  harmless = {'sample': {'top_k': 3}, 'vqvae_training': {'log_every': 7}}
  assert workdir.claim(path, from_dict(harmless)) == [
    'configuration: vqvae_training.log_every 50 -> 7',
    'configuration: sample.top_k None -> 3',
  ]
  other = {'seed': 2, 'vqvae': {'n_codes': 7, 'n_hiddens': 16}, 'prior': {'n_layers': 3}}
  message = 'seed is 0 there and 2 here; vqvae.n_codes is 2048 .*; vqvae.n_hiddens is 240 '
  with pytest.raises(UserError, match=message) as refused:
    workdir.claim(path, from_dict(other))
  assert str(refused.value).endswith('set back seed, vqvae.n_codes, vqvae.n_hiddens')


@pytest.mark.slow
def test_a_run_takes_a_tokenizer_as_it_is_and_a_prior_without_its_output(source, tmp_path, capsys):
  start = with_training(EXPERIMENT, 'vqvae', init_from=str(source), steps=0)
  start = with_training(
    start, 'prior', init_from=str(source), init_skip='fc_out', steps=1, checkpoint_every=1
  )
  run(start, epath.Path(tmp_path / 'run'), ['vqvae', 'prior'])
  told = capsys.readouterr().out
  assert 'prior: drawn anew: fc_out/kernel' in told
  assert f'prior: begins with {source}: ' in told
  assert 'something else' not in told
  assert_equal(load_vqvae(tmp_path / 'run'), load_vqvae(source))
  found, wanted = (load_videogpt(path).prior.state for path in (tmp_path / 'run', source))
  # One step of a warm-up from zero: only the output was drawn anew, which is zeros.
  kernel = lambda state: np.asarray(state['fc_out']['kernel'][...])
  assert abs(kernel(wanted)).max() > 100 * abs(kernel(found)).max()
  sos = lambda state: np.asarray(state['sos'][...])
  np.testing.assert_allclose(sos(found), sos(wanted), atol=2e-3)
  assert abs(sos(wanted)).max() > 0.02
  # Once it has begun, the source is needed no more.
  gone = dataclasses.replace(start, name='again')
  run(gone, epath.Path(tmp_path / 'run'), ['vqvae', 'prior'])
  assert 'prior: finished before' in capsys.readouterr().out


def test_averages_begin_with_what_is_given_and_the_optimiser_afresh(source, tmp_path):
  training = dataclasses.replace(EXPERIMENT.vqvae_training, init_from=str(source))
  stage, _ = shapes.stage_of('vqvae', EXPERIMENT)
  mesh = make_mesh(MeshConfig(fsdp=4, data=2))
  stage, tokenizer = init_from.begin(stage, training, mesh)
  with Checkpoints(tmp_path) as checkpoints:
    state, _ = prepare(stage, training, mesh, checkpoints, jax.random.key(0))
  for model in ((state.params, state.variables), (state.ema_params, state.ema_variables)):
    named = {name: x for part in model for name, x in init_from.arrays_of(part).items()}
    for name, x in init_from.arrays_of(tokenizer.state).items():
      np.testing.assert_array_equal(named[name], x, err_msg=name)
  assert all((leaf == 0).all() for leaf in leaves(state.opt_state))


def test_no_two_arrays_of_a_first_state_share_memory(source, tmp_path):
  """The step donates all of them; averages of what is drawn anew are arrays of their own."""
  training = dataclasses.replace(
    EXPERIMENT.vqvae_training, init_from=str(source), init_skip='decoder'
  )
  stage, _ = shapes.stage_of('vqvae', EXPERIMENT)
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  stage, _ = init_from.begin(stage, training, mesh)
  with Checkpoints(tmp_path) as checkpoints:
    state, _ = prepare(stage, training, mesh, checkpoints, jax.random.key(0))
  assert state.ema_params is not None
  places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
  assert len(set(places)) == len(places)


def test_what_does_not_fit_is_named_before_anything_is_trained(source, tmp_path):
  wider = dataclasses.replace(EXPERIMENT.prior, mlp_dim=7)
  wrong = with_training(EXPERIMENT, 'prior', init_from=str(source))
  message = r'lacks \d arrays of the prior: .*blocks/mlp_in/kernel \(.* there, .* 7\] here\).*'
  with pytest.raises(UserError, match=message + r'init_skip=blocks/mlp_in,blocks/mlp_out'):
    run(dataclasses.replace(wrong, prior=wider), epath.Path(tmp_path / 'a'), ['vqvae', 'prior'])
  sharp = dataclasses.replace(EXPERIMENT, vqvae_loss=LossConfig(adversarial_weight=0.1))
  begun = with_training(sharp, 'vqvae', init_from=str(source))
  message = r'lacks \d+ arrays of the vqvae: discriminator; .*init_skip=discriminator$'
  with pytest.raises(UserError, match=message):
    run(begun, epath.Path(tmp_path / 'a'), ['vqvae'])
  nowhere = with_training(EXPERIMENT, 'prior', init_from=str(tmp_path / 'nowhere'))
  with pytest.raises(UserError, match='no such file'):
    run(nowhere, epath.Path(tmp_path / 'a'), ['vqvae', 'prior'])
  assert not (tmp_path / 'a').exists()
  with pytest.raises(UserError, match=r"init_skip 'head' is no part .* parts are .*fc_out"):
    misspelt = with_training(wrong, 'prior', init_skip='head')
    run(misspelt, epath.Path(tmp_path / 'a'), ['vqvae', 'prior'])


def test_a_published_file_is_a_beginning_and_other_settings_are_told():
  found = published.load(GOLDENS / 'gpt_uncond.ckpt')
  stated = exchange.stated_experiment(found, 'published')
  n_heads = 2 * found.prior.n_heads
  prior = dataclasses.replace(found.prior, dropout=0.5, n_heads=n_heads)
  experiment = dataclasses.replace(stated, prior=prior)
  experiment = with_training(experiment, 'prior', init_from=str(GOLDENS / 'gpt_uncond.ckpt'))
  stage, training = shapes.stage_of('prior', experiment)
  lines = init_from.check(stage, experiment)
  assert 'begins with' in lines[0]
  assert [line for line in lines if 'n_heads is' in line and 'mean something else' in line]
  assert not [line for line in lines if 'dropout' in line]
  begun, _ = init_from.begin(stage, training, make_mesh(MeshConfig(), jax.devices()[:1]))
  for name, x in init_from.arrays_of(found.prior_state).items():
    np.testing.assert_array_equal(begun.given[name], x)


def test_matching_lists_what_is_there_and_what_is_not():
  ours = {'a/kernel': (2, 3), 'a/bias': (3,), 'b': (4,), 'c': (5,)}
  theirs = {'a/kernel': (2, 3), 'a/bias': (4,), 'c': (5,), 'd': (6,)}
  found = init_from.match(ours, theirs, ['c'])
  assert found == init_from.Match(
    taken=('a/kernel',),
    skipped=('c',),
    missing=('a/bias ([4] there, [3] here)', 'b'),
    unused=('d',),
  )


@pytest.mark.parametrize(
  'wrong', [{'steps': 0}, {'steps': -1, 'init_from': 'a'}, {'init_skip': 'b'}]
)
def test_impossible_beginnings_are_refused(wrong):
  with pytest.raises(UserError, match=r'steps|init_skip'):
    TrainingConfig(**wrong)


def test_only_what_is_learnt_counts():
  change = lambda key: drift.Change(key, 1, 2)
  assert drift.learnt(change('seed'), 'vqvae') and drift.learnt(change('vqvae.n_codes'), 'prior')
  assert not drift.learnt(change('prior.n_layers'), 'vqvae')
  assert not drift.learnt(change('prior_training.log_every'), 'prior')
