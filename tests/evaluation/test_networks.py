import pathlib

import jax
import numpy as np
import pytest
from flax import nnx

from tests.evaluation import published_weights
from videogpt_jax import resize
from videogpt_jax.evaluation import c3d, i3d, i3d_weights, lpips

_GOLDENS = pathlib.Path(__file__).parent / 'goldens'


@pytest.fixture(scope='module')
def recorded():
  return np.load(_GOLDENS / 'networks.npz')


def _relative_error(actual, expected):
  return np.abs(actual - expected).max() / np.abs(expected).max()


def test_i3d_logits_equal_the_published_implementation():
  goldens = np.load(_GOLDENS / 'fvd.npz')
  assert len(published_weights.i3d()) == 344
  network = i3d_weights.import_i3d(published_weights.i3d())
  video = resize.resize_and_crop(goldens['i3d/video'] / np.float32(255), i3d.RESOLUTION) * 2 - 1
  logits = nnx.jit(network)(video)
  assert _relative_error(logits, goldens['i3d/logits']) < 1e-3


def test_i3d_from_tensorflows_names_is_the_same_network():
  from_torch = i3d_weights.import_i3d(published_weights.i3d())
  from_tensorflow = i3d_weights.import_i3d(published_weights.i3d_tensorflow())
  pairs = zip(
    jax.tree.leaves(nnx.state(from_torch)), jax.tree.leaves(nnx.state(from_tensorflow)), strict=True
  )
  for a, b in pairs:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def _port(separator='.', norm=('beta', 'mean', 'var')):
  """TensorFlow's variables, in the network's order, as a PyTorch port may call them."""
  variables, tensors = published_weights.i3d_tensorflow(), {}
  names = [name.removesuffix('.conv3d.weight') for name in published_weights.i3d()]
  units = [name for name in dict.fromkeys(names) if '.bn.' not in name]
  units = [name for name in units if not name.startswith('logits')]
  kernels = [name for name in variables if name.endswith('conv_3d/w') and 'Logits' not in name]
  for unit, kernel in zip(units, kernels, strict=True):
    scope = f'layers.{unit.lower()}{separator}'
    tensors[f'{scope}weight'] = np.moveaxis(variables[kernel], (4, 3), (0, 1))
    of_norm = kernel.replace('conv_3d/w', 'batch_norm/')
    for name, kind in zip(norm, ('beta', 'moving_mean', 'moving_variance'), strict=True):
      tensors[f'{scope}{name}'] = variables[of_norm + kind].reshape(-1)
  for kind in ('weight', 'bias'):
    tensors[f'output.{kind}'] = published_weights.i3d()[f'logits.conv3d.{kind}']
  return tensors


def test_i3d_from_other_names_is_told_by_order_and_shape():
  ours = i3d_weights.import_i3d(_port('.conv.'))
  from_tensorflow = i3d_weights.import_i3d(published_weights.i3d_tensorflow())
  leaves = [jax.tree.leaves(nnx.state(network)) for network in (ours, from_tensorflow)]
  for a, b in zip(*leaves, strict=True):
    np.testing.assert_array_equal(a, b)


def test_i3d_from_other_names_is_refused_unless_it_fits():
  tensors = list(_port().items())
  # The second kernel of a module before its first: shapes no longer fit.
  swapped = dict(tensors[:20] + tensors[24:28] + tensors[20:24] + tensors[28:])
  with pytest.raises(ValueError, match=r'in w\.pt has shape'):
    i3d_weights.import_i3d(swapped, 'w.pt')
  with pytest.raises(ValueError, match=r'unknown tensors beside .* give i3d_pretrained_400'):
    i3d_weights.import_i3d(_port(norm=('a', 'b', 'c')), 'w.pt')
  with pytest.raises(ValueError, match='holds no I3D'):
    i3d_weights.import_i3d(dict(tensors[4:]), 'w.pt')


def test_i3d_refuses_what_is_not_its_weights():
  tensors = dict(published_weights.i3d())
  del tensors['Mixed_4d.b1b.bn.running_var']
  with pytest.raises(ValueError, match=r'w\.pt lacks the tensor Mixed_4d\.b1b\.bn\.running_var'):
    i3d_weights.import_i3d(tensors, 'w.pt')
  tensors = dict(published_weights.i3d())
  tensors['logits.conv3d.weight'] = tensors['logits.conv3d.weight'][:157]
  with pytest.raises(ValueError, match=r'logits\.kernel in w\.pt has shape'):
    i3d_weights.import_i3d(tensors, 'w.pt')
  tensors['logits.conv3d.weight'] = np.full((400, 1024, 1, 1, 1), np.nan)
  with pytest.raises(ValueError, match=r'logits\.kernel in w\.pt must be finite'):
    i3d_weights.import_i3d(tensors, 'w.pt')
  with pytest.raises(ValueError, match='holds no I3D'):
    i3d_weights.import_i3d({'conv1.weight': np.zeros(3)})
  with pytest.raises(ValueError, match='at least 9 frames'):
    nnx.eval_shape(lambda: i3d.I3D(rngs=nnx.Rngs(0))(np.zeros((1, 8, 224, 224, 3))))


@pytest.mark.parametrize('net', ['alex', 'vgg'])
def test_lpips_equals_the_authors_package(net, recorded):
  network = lpips.import_lpips(*published_weights.lpips(net))
  distances = nnx.jit(network)(recorded['images'], recorded['references'])
  np.testing.assert_allclose(distances, recorded[f'lpips_{net}'], rtol=1e-4, atol=1e-7)
  assert distances[1] < 1e-12  # the same image twice


def test_lpips_refuses_what_does_not_fit():
  alex, vgg = published_weights.lpips('alex'), published_weights.lpips('vgg')
  with pytest.raises(ValueError, match='lin1 in'):
    lpips.import_lpips(alex[0], vgg[1])
  with pytest.raises(ValueError, match='lacks'):
    lpips.import_lpips({}, alex[1])
  with pytest.raises(ValueError, match='at least 31x31, not 30x40'):
    lpips.import_lpips(*alex)(*np.zeros((2, 1, 30, 40, 3)))


def test_c3d_logits_equal_pytorchs(recorded):
  network = c3d.import_c3d(*published_weights.c3d())
  assert _relative_error(network(recorded['clips']), recorded['c3d_logits']) < 1e-3
  with pytest.raises(ValueError, match='16 frames, not 15'):
    network(recorded['clips'][:, :15])


def test_c3d_refuses_what_is_not_its_weights():
  with pytest.raises(ValueError, match='lacks the tensors conv1a/W'):
    c3d.import_c3d({}, np.zeros((3, 16, 128, 171)))
