"""The gradient difference, perceptual and adversarial losses of a VQ-VAE, and its discriminator."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training.tiny import VQVAE_CONFIG, ListLog, Stop, StoppedError, batch, data, leaves
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import i3d, lpips, record
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.evaluation.networks import Networks
from videogpt_jax.models.discriminator import Discriminator
from videogpt_jax.models.trained import trained
from videogpt_jax.stages import perceptual, score, vqvae_losses
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training.checkpoint import Checkpoints, restore_model
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit, on_devices
from videogpt_jax.training.optimizer import OptimizerConfig, global_norm
from videogpt_jax.training.paths import DISCRIMINATOR
from videogpt_jax.training.sharding import MeshConfig, make_mesh, shard, shard_batch
from videogpt_jax.training.step import init_state, make_train_step
from videogpt_jax.training.vqvae_loss import LossConfig

KEY = jax.random.key(4)
GROUP = dataclasses.replace(VQVAE_CONFIG, norm='group', axial_attention=False)
ADVERSARIAL = LossConfig(
  adversarial_weight=0.3, discriminator_hiddens=4, discriminator_layers=2, r1_weight=0.1
)


def make_stage(**changes):
  return vqvae_stage(GROUP, (2, 2, 2), dataclasses.replace(ADVERSARIAL, **changes))


def take_steps(stage, n=1):
  """The states before and after each of the first steps, and the metrics of the last one."""
  optimizer = OptimizerConfig(learning_rate=1e-2, schedule='constant')
  states, metrics = [init_state(stage, optimizer, 10, jax.random.key(1))], {}
  step = jax.jit(make_train_step(stage, optimizer, 10))
  for i in range(n):
    state, metrics = step(states[-1], None, batch(i), KEY)
    states.append(state)
  return states, metrics


def moved(before, after):
  """Which parts of a model differ between two trees of its arrays."""
  return {
    name
    for name in before
    if any((a != b).any() for a, b in zip(leaves(before[name]), leaves(after[name]), strict=True))
  }


def with_rate(update, rate):
  return dataclasses.replace(update, optimizer=OptimizerConfig(learning_rate=rate))


def test_the_gradient_difference_compares_steps_without_their_signs_at_each_scale():
  differ = vqvae_losses.gradient_difference
  board = np.indices((8, 8)).sum(0) % 2 - 0.5
  squares, pairs = (
    jnp.asarray(x)[None, None, ..., None] * jnp.ones(3)
    for x in (board, np.kron(board[:4, :4], np.ones((2, 2))))
  )
  # A negative has the same steps. Grey lacks those of single pixels, 1 in both directions, which
  # are grey at half the size; and those of two pixels: 3 of 7 as they are, all at half the size.
  np.testing.assert_array_equal(differ(-squares, squares), [0.0])
  np.testing.assert_array_equal(differ(jnp.zeros_like(squares), squares), [2.0])
  np.testing.assert_allclose(differ(jnp.zeros_like(pairs), pairs), [2 * (3 / 7 + 1)], rtol=1e-6)

  x, y = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 3, 2, 9, 4, 3)).astype(np.float32)
  wanted = np.zeros(3)
  for a, b in ((x, y), [z[:, :, :8].reshape(3, 2, 4, 2, 2, 2, 3).mean((3, 5)) for z in (x, y)]):
    for axis in (2, 3):
      steps = np.abs(np.diff(a, axis=axis)) - np.abs(np.diff(b, axis=axis))
      wanted += (steps**2).mean((1, 2, 3, 4))
  # The width, 4, allows a half, and no quarter.
  np.testing.assert_allclose(differ(jnp.asarray(x), jnp.asarray(y)), wanted, rtol=1e-5)


def test_the_gradient_difference_joins_the_losses_by_its_weight():
  model, clips = vqvae_stage(GROUP).create(nnx.Rngs(5)), batch(0)
  find = lambda config: vqvae_losses.loss(nnx.clone(model), None, clips, KEY, config)
  (plain, _), (total, metrics) = find(LossConfig()), find(LossConfig(gradient_weight=0.5))
  x = nnx.clone(model)(clips['video'], KEY).reconstruction
  differ = vqvae_losses.gradient_difference(x, clips['video']).mean()
  np.testing.assert_allclose(metrics['gradient_loss'], 0.5 * differ / 0.06, rtol=1e-4)
  np.testing.assert_allclose(total - plain, metrics['gradient_loss'], rtol=1e-4)


@pytest.mark.slow
def test_a_discriminators_step_changes_no_tokenizer_and_the_other_way_round():
  stage = make_stage(adaptive_weight=False)
  vqvae, discriminator = stage.updates
  parts = {'encoder', 'pre_vq_conv', 'post_vq_conv', 'decoder'}
  for still, wanted in ((vqvae, {DISCRIMINATOR}), (discriminator, parts)):
    updates = tuple(with_rate(u, 0.0) if u is still else u for u in stage.updates)
    (before, after), _ = take_steps(dataclasses.replace(stage, updates=updates))
    assert moved(before.params, after.params) == wanted
  # Its look at the batch leaves statistics and codebook as they were.
  model, clips = models(norm='batch')
  before = nnx.clone(model)
  vqvae_losses.discriminator_loss(model, None, clips, KEY, ADVERSARIAL)
  assert moved(*(nnx.to_pure_dict(nnx.state(m)) for m in (before, model))) <= {DISCRIMINATOR}


def models(norm='group'):
  """A VQ-VAE whose discriminator has begun, and a batch."""
  config = dataclasses.replace(GROUP, norm=norm)
  model = vqvae_stage(config, (2, 2, 2), ADVERSARIAL).create(nnx.Rngs(5))
  model.discriminator.begun[...] = jnp.ones((), bool)
  return model, batch(0)


def gradient(model, loss):
  """The gradient of a loss (model) -> scalar, for the VQ-VAE's parameters."""
  graph, own, rest = nnx.split(
    model, nnx.All(nnx.Param, nnx.Not(nnx.PathContains(DISCRIMINATOR))), ...
  )
  return jax.jit(jax.value_and_grad(lambda own: loss(nnx.merge(graph, own, rest, copy=True))))(own)


def test_the_gradient_is_that_of_the_weighted_sum():
  """The loss differentiates each network once, at the reconstruction; here all at once."""
  model, clips = models()
  config = dataclasses.replace(ADVERSARIAL, adaptive_weight=False)

  def plain(model):
    out = model(clips['video'], KEY)
    error = jnp.mean(jnp.square(out.reconstruction - clips['video'])) / vqvae_losses.DATA_VARIANCE
    fooling = -jnp.mean(model.discriminator(out.reconstruction))
    return error + config.adversarial_weight * fooling + sum(out.quantized.losses.values())

  wanted = gradient(model, plain)
  found = gradient(model, lambda m: vqvae_losses.loss(m, None, clips, KEY, config)[0])
  np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
  for a, b in zip(leaves(found[1]), leaves(wanted[1]), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_adaptive_weight_makes_both_gradients_equal_at_the_last_layer():
  model, clips = models()
  _, metrics = vqvae_losses.loss(nnx.clone(model), None, clips, KEY, ADVERSARIAL)

  def last_layer(loss):
    """The norm of a loss' gradient for the decoder's last convolution, by way of all layers."""
    grads = gradient(model, lambda m: loss(m, m(clips['video'], KEY).reconstruction))[1]
    return global_norm(grads['decoder']['convts'][1])

  similar = last_layer(
    lambda m, x: jnp.mean(jnp.square(x - clips['video'])) / vqvae_losses.DATA_VARIANCE
  )
  fooling = last_layer(lambda m, x: -jnp.mean(m.discriminator(x)))
  weight = ADVERSARIAL.adversarial_weight * similar / (fooling + 1e-4)
  np.testing.assert_allclose(metrics['adversarial_weight'], weight, rtol=1e-4)


@pytest.mark.slow
def test_nothing_adversarial_happens_before_its_first_step():
  stage = make_stage(adversarial_start=2, adaptive_weight=False, lecam_weight=0.1)
  states, metrics = take_steps(stage, 4)
  changes = [DISCRIMINATOR in moved(a.params, b.params) for a, b in itertools.pairwise(states)]
  assert changes == [False, False, True, True]
  counts = [int(s.opt_state[DISCRIMINATOR][1].count) for s in states]
  assert counts == [0, 0, 0, 1, 2]
  begun = [bool(s.variables[DISCRIMINATOR]['begun'][...]) for s in states]
  assert begun == [False, False, False, True, True]
  assert metrics['vqvae/adversarial_weight'] == np.float32(0.3)  # from the step after the first one
  assert take_steps(stage, 3)[1]['vqvae/adversarial_weight'] == 0


def test_the_discriminator_learns_to_tell_and_its_terms_are_those_of_the_sources():
  model, clips = models()
  config = dataclasses.replace(ADVERSARIAL, r1_weight=2.0, lecam_weight=0.5)
  discriminator, video = model.discriminator, clips['video']
  discriminator.real[...], discriminator.fake[...] = jnp.float32(0.4), jnp.float32(-0.7)
  fake = nnx.clone(model)(video, KEY).reconstruction
  total, metrics = vqvae_losses.discriminator_loss(model, None, clips, KEY, config)
  real_logits, fake_logits = (np.asarray(discriminator(x), np.float64) for x in (video, fake))
  hinge = np.maximum(1 - real_logits, 0).mean() / 2 + np.maximum(1 + fake_logits, 0).mean() / 2
  means = {'real': 0.99 * 0.4 + 0.01 * real_logits.mean()}
  means['fake'] = 0.99 * -0.7 + 0.01 * fake_logits.mean()
  apart = ((real_logits - means['fake']) ** 2).mean() + ((fake_logits - means['real']) ** 2).mean()
  # By differences: a step along the gradient raises the sum by its squared norm.
  slopes = jax.jit(jax.grad(lambda x: discriminator(x).sum()))(video)
  ends = [discriminator(video + s * 1e-3 * slopes).sum((1, 2, 3)) for s in (1, -1)]
  np.testing.assert_allclose(metrics['hinge_loss'], hinge, rtol=1e-5)
  np.testing.assert_allclose(metrics['lecam_loss'], 0.5 * apart, rtol=1e-5)
  np.testing.assert_allclose(metrics['r1_loss'], np.mean(ends[0] - ends[1]) / 2e-3, rtol=2e-2)
  np.testing.assert_allclose(total, hinge + 0.5 * apart + metrics['r1_loss'], rtol=1e-5)
  for name, mean in means.items():
    np.testing.assert_allclose(getattr(discriminator, name)[...], mean, rtol=1e-5)


@pytest.mark.parametrize('clip', [(16, 64, 64), (4, 8, 8), (1, 16, 8), (17, 32, 48)])
def test_the_discriminator_takes_any_clip(clip):
  logits = Discriminator(4, 3, clip, rngs=nnx.Rngs(0))(jnp.zeros((2, *clip, 3)))
  assert logits.shape[0] == 2 and min(logits.shape) >= 1
  assert all(n <= max(size // 2, 1) for n, size in zip(logits.shape[1:], clip, strict=True))


def test_the_stem_has_the_weights_of_two_stages_alone():
  """That its features are right, the tests of the whole network say."""
  network = nnx.eval_shape(lambda: i3d.I3D(rngs=nnx.Rngs(0)))
  stem = network.stem_only()
  assert {path[0] for path, _ in nnx.to_flat_state(nnx.state(stem))} == {
    *('Conv3d_1a_7x7', 'Conv3d_2b_1x1', 'Conv3d_2c_3x3')
  }
  assert hasattr(network, 'logits')
  video = jax.ShapeDtypeStruct((1, 4, 16, 24, 3), jnp.float32)
  first, second = nnx.eval_shape(lambda m, v: m.features(v), stem, video)
  assert (first.shape, second.shape) == ((1, 2, 8, 12, 64), (1, 2, 4, 6, 192))


@pytest.mark.parametrize('kind', [pytest.param('i3d', marks=pytest.mark.slow), 'lpips'])
def test_a_perceptual_distance_is_none_for_equal_videos_and_grows_with_blur(kind):
  draw = np.random.default_rng(0)
  video = jnp.asarray(draw.uniform(-0.5, 0.5, (2, 4, 32, 32, 3)), jnp.float32)
  if kind == 'i3d':
    distance = perceptual.FeatureDistance(i3d.I3D(rngs=nnx.Rngs(0)))
  else:
    network = lpips.LPIPS('alex', rngs=nnx.Rngs(0))
    for stage in range(5):
      getattr(network, f'lin{stage}')[...] += 0.1
    distance = perceptual.FrameDistance(network)
    frames = [255 * (x[0] + 0.5) for x in (video, video[::-1])]
    one = distance(video, video[::-1])[0]
    np.testing.assert_allclose(one, network(*frames).mean(), rtol=1e-5)
  blurred = [
    (1 - share) * video + share * video.mean(axis=(2, 3), keepdims=True) for share in (0.2, 0.9)
  ]
  none, little, much = (distance(x, video) for x in (video, *blurred))
  np.testing.assert_array_equal(none, 0)
  assert (little > 0).all() and (little < much).all() and (much <= 4).all()


@pytest.mark.slow
def test_a_perceptual_loss_is_added_and_its_network_stays():
  network = trained(perceptual.FeatureDistance(i3d.I3D(rngs=nnx.Rngs(0))))
  config = LossConfig(perceptual='i3d', perceptual_weight=0.5)
  stage = vqvae_stage(GROUP, (2, 2, 2), config, network)
  optimizer, clips = OptimizerConfig(learning_rate=1e-2), batch(0)
  state = init_state(stage, optimizer, 10, jax.random.key(1))
  _, metrics = jax.jit(make_train_step(stage, optimizer, 10))(state, stage.frozen, clips, KEY)
  model = nnx.merge(stage.abstract()[0], state.params, state.variables)
  out = model(clips['video'], jax.random.fold_in(KEY, 0))
  distance = network.module()(out.reconstruction, clips['video'])
  np.testing.assert_allclose(metrics['perceptual_loss'], 0.5 * distance.mean(), rtol=1e-4)
  parts = metrics['reconstruction_loss'] + metrics['perceptual_loss'] + metrics['commitment_loss']
  np.testing.assert_allclose(metrics['loss'], parts, rtol=1e-5)


def test_a_perceptual_loss_without_weights_is_refused(monkeypatch):
  monkeypatch.setattr(perceptual, 'i3d_file', lambda _: '')
  for kind, files in (('i3d', ''), ('lpips', ''), ('lpips', 'one.pth')):
    with pytest.raises(UserError, match=f'perceptual={kind} needs . file.s. of weights, and'):
      perceptual.load_perceptual(LossConfig(perceptual=kind, perceptual_files=files))
  with pytest.raises(UserError, match=r'there is no file none\.pt'):
    perceptual.load_perceptual(LossConfig(perceptual='i3d', perceptual_files='none.pt'))
  assert perceptual.load_perceptual(LossConfig()) is None


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'perceptual': 'vgg'}, "perceptual 'vgg' is not one of"),
    ({'adversarial_weight': -1.0}, r'adversarial_weight \(-1.0\) must not be negative'),
    ({'discriminator_layers': 0}, r'discriminator_layers \(0\) must be at least 1'),
  ],
)
def test_impossible_losses_are_refused(change, message):
  with pytest.raises(UserError, match=f'vqvae_loss.{message}'):
    LossConfig(**change)


@pytest.mark.slow
def test_a_run_resumes_with_its_discriminator_and_the_model_is_read_without(tmp_path):
  config = TrainingConfig(
    steps=4,
    batch_size=8,
    optimizer=OptimizerConfig(learning_rate=1e-2, ema_decay=0.9),
    log_every=1,
    evaluate_every=4,
    checkpoint_every=2,
  )
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  stage = make_stage(adversarial_start=1)

  def train(folder, log):
    with Checkpoints(tmp_path / folder) as checkpoints:
      return fit(stage, config, data(), mesh, checkpoints, log)

  whole = train('whole', ListLog('vqvae/loss'))
  with pytest.raises(StoppedError):
    train('cut', Stop(3, 'vqvae/loss'))
  resumed = train('cut', ListLog('vqvae/loss'))
  for a, b in zip(leaves(whole), leaves(resumed), strict=True):
    np.testing.assert_array_equal(a, b)
  _, *like = vqvae_stage(GROUP).abstract()
  for found, trained_ones in zip(restore_model(tmp_path / 'cut', *like), whole.model, strict=True):
    assert DISCRIMINATOR not in found and DISCRIMINATOR in trained_ones
    for name in found:
      for a, b in zip(leaves(found[name]), leaves(trained_ones[name]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_eight_devices_take_the_step_of_one():
  """The adaptive weight, the condition on its first step and R1's second derivative included."""
  stage = make_stage(lecam_weight=0.1)
  (_, one), told = take_steps(stage)
  optimizer = OptimizerConfig(learning_rate=1e-2, schedule='constant')
  config = TrainingConfig(steps=10, batch_size=8, optimizer=optimizer)
  mesh = make_mesh(MeshConfig(data=4, fsdp=2))
  like, step = on_devices(stage, config, mesh)
  state = init_state(stage, optimizer, 10, jax.random.key(1))
  state = shard(state, jax.tree.map(lambda a: a.sharding, like))
  many, metrics = step(state, None, shard_batch(batch(0), mesh), KEY)
  for name in told:
    np.testing.assert_allclose(metrics[name], told[name], rtol=1e-3, atol=1e-5, err_msg=name)
  # Adam's first step is as large where a gradient is only rounding; so its moments are compared.
  moments = [[state[1].mu for state in s.opt_state.values()] for s in (many, one)]
  for a, b in zip(*map(leaves, moments), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(b).max() + 1e-7)


def test_scores_by_the_network_that_the_loss_looked_through_are_marked():
  of_i3d, of_user = (
    Networks(features=FeatureNetwork(name, features=np.mean)) for name in ('i3d', 'mine')
  )
  names = 'r_fvd', 'fvd_std', 'rollout_fvd', 'lpips', 'psnr', 'reconstruction_lpips'
  scores = dict.fromkeys(names, 1.0)
  assert score.trained_on('i3d', scores, of_i3d) == ['fvd_std', 'r_fvd', 'rollout_fvd']
  assert score.trained_on('i3d', scores, of_user) == []
  assert score.trained_on('lpips', scores, of_i3d) == ['lpips', 'reconstruction_lpips']
  assert score.trained_on('', scores, of_i3d) == []
  protocol = {'name': 'all', 'n_clips': 2, 'n_trials': 1}
  result = {'scores': scores, 'intervals': {'r_fvd': [0.5, 2.0]}, 'protocol': protocol}
  result |= {'clip': {'size_t_h_w_c': [1]}, 'seed': 0, 'missing': {}, 'warnings': []}
  lines = record.summarise(result | {'trained_on': ['r_fvd']}).splitlines()
  assert [line.split()[0] for line in lines if line.endswith('*')] == ['r_fvd']
  assert sum('by the network of the perceptual loss' in line for line in lines) == 1
  assert '*' not in record.summarise(result)
