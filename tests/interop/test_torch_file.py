"""PyTorch's files are read and written exactly, and run nothing."""

import argparse
import collections
import io
import os
import pathlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from videogpt_jax.interop import torch_pickle
from videogpt_jax.interop.torch_file import (
  is_torchscript,
  read_checkpoint,
  read_torchscript,
  write_checkpoint,
)

GOLDENS = pathlib.Path(__file__).parent.parent / 'goldens'
DTYPES = ['float32', 'float64', 'float16', 'int64', 'int32', 'int16', 'int8', 'uint8']


def write_zip(path, pickled: bytes, **storages: bytes):
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('x/data.pkl', pickled)
    for key, content in storages.items():
      archive.writestr(f'x/data/{key}', content)


def floats(size: str = 'K\x02\x85', stride: str = 'K\x01\x85', n: int = 2) -> bytes:
  """A pickle of one float32 tensor: size and stride as opcodes, its storage of n elements."""
  return (
    '\x80\x02ctorch._utils\n_rebuild_tensor_v2\n('
    f'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK{chr(n)}tQ'
    f'K\x00{size}{stride}\x89ccollections\nOrderedDict\n)RtR.'
  ).encode('latin1')


@pytest.mark.parametrize('name', ['torch_dtypes.pt', 'torch_dtypes_legacy.pt'])
class TestFilesOfPyTorch:
  @pytest.mark.parametrize('dtype', DTYPES)
  def test_every_dtype(self, name, dtype):
    x = read_checkpoint(GOLDENS / name)[dtype]
    assert x.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(x, np.arange(6).reshape(2, 3))

  def test_bfloat16_bool_scalar_and_empty(self, name):
    tree = read_checkpoint(GOLDENS / name)
    assert tree['bfloat16'].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(tree['bfloat16'].astype(np.float32), [[0, 1, 2], [3, 4, 5]])
    assert tree['bool'].tolist() == [True, False]
    assert tree['scalar'].shape == () and tree['scalar'] == 7
    assert tree['empty'].shape == (0, 3)

  def test_views_of_shared_storages(self, name):
    tree = read_checkpoint(GOLDENS / name)
    np.testing.assert_array_equal(tree['transposed'], np.arange(2, 14).reshape(3, 4).T)
    np.testing.assert_array_equal(tree['every_second'], np.arange(1, 24, 2))
    np.testing.assert_array_equal(tree['expanded'], np.full((4, 2), 3))
    np.testing.assert_array_equal(tree['parameter'], [0, 1, 2])

  def test_plain_values(self, name):
    tree = read_checkpoint(GOLDENS / name)
    assert tree['size'] == (2, 3)
    assert tree['plain'] == [1, 2.5, None, True, 'ü', -5, 2**40, (1,), (), {1: 2}, {1}]
    assert tree['args'] == argparse.Namespace(a=1)

  @pytest.mark.parametrize('missing', [1, 100, 3000])
  def test_a_truncated_file_is_an_error(self, name, missing, tmp_path):
    content = (GOLDENS / name).read_bytes()
    cut = tmp_path / 'cut.ckpt'
    cut.write_bytes(content[:-missing])
    with pytest.raises(ValueError, match=r'cannot read .*cut\.ckpt as a PyTorch checkpoint'):
      read_checkpoint(cut)


@pytest.mark.parametrize('dtype', torch_pickle.STORAGE_DTYPES.values(), ids=str)
def test_a_written_tensor_reads_back_bit_for_bit(dtype, tmp_path):
  x = np.arange(-3, 9).reshape(3, 4).astype(dtype).T
  write_checkpoint(tmp_path / 'x.ckpt', {'x': x, 'scalar': x[1, 2]})
  tree = read_checkpoint(tmp_path / 'x.ckpt')
  assert tree['x'].dtype == dtype and tree['x'].shape == (4, 3)
  assert tree['x'].tobytes() == x.tobytes()


def test_written_containers_read_back(tmp_path):
  tree = {
    'state_dict': collections.OrderedDict(b=1, a=-2.5),
    'args': argparse.Namespace(downsample=(4, 2, 2), name='ü', none=None, flag=False),
    3: [2**70, [], (), {}],
  }
  write_checkpoint(tmp_path / 'x.ckpt', tree)
  back = read_checkpoint(tmp_path / 'x.ckpt')
  assert back == tree
  assert isinstance(back['state_dict'], collections.OrderedDict)


def test_what_a_checkpoint_cannot_hold_is_named_and_no_file_is_left(tmp_path):
  with pytest.raises(ValueError, match='complex64'):
    write_checkpoint(tmp_path / 'x.ckpt', {'x': np.zeros(2, np.complex64)})
  with pytest.raises(ValueError, match='of type object'):
    write_checkpoint(tmp_path / 'x.ckpt', [object()])
  assert not any(tmp_path.iterdir())


class Evil:
  """Unpickling it would make a directory."""

  def __init__(self, call, *arguments):
    self.reduced = call, arguments

  def __reduce__(self):
    return self.reduced


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('zipped', [True, False])
def test_a_malicious_file_is_refused_by_name_and_not_run(tmp_path, zipped, protocol):
  victim, path = tmp_path / 'victim', tmp_path / 'evil.ckpt'
  pickled = pickle.dumps({'state_dict': Evil(os.mkdir, str(victim))}, protocol)
  write_zip(path, pickled) if zipped else path.write_bytes(pickled)
  with pytest.raises(ValueError, match=r'names (posix|nt)\.mkdir'):
    read_checkpoint(path)
  assert not victim.exists()


@pytest.mark.parametrize(
  'pickled, named',
  [
    (pickle.dumps(Evil(eval, '1')), r'builtins\.eval'),
    (pickle.dumps(Evil(getattr, dict, 'get')), r'builtins\.getattr'),
    (pickle.dumps(collections.Counter(), 2), r'collections\.Counter'),
    (b'ctorch.hub\nload\n.', r'torch\.hub\.load'),
    (b'ctorch\nload\n.', r'torch\.load'),
    (b'\x80\x04\x8c\x08argparse\x8c\x12Namespace.__init__\x93.', r'argparse\.Namespace\.__init__'),
  ],
)
def test_any_other_name_is_refused(tmp_path, pickled, named):
  write_zip(tmp_path / 'x.ckpt', pickled)
  with pytest.raises(ValueError, match=named):
    read_checkpoint(tmp_path / 'x.ckpt')


def test_names_of_lightning_stay_names(tmp_path):
  module = b'pytorch_lightning.callbacks.model_checkpoint'
  write_zip(tmp_path / 'x.ckpt', b'}(c' + module + b'\nModelCheckpoint\nK\x01u.')
  ((name, value),) = read_checkpoint(tmp_path / 'x.ckpt').items()
  assert name == torch_pickle.InertName(module.decode(), 'ModelCheckpoint') and value == 1
  write_zip(tmp_path / 'call.ckpt', b'c' + module + b'\nModelCheckpoint\n)R.')
  with pytest.raises(ValueError, match='misuses'):
    read_checkpoint(tmp_path / 'call.ckpt')


def test_a_file_cannot_change_the_classes_it_names(tmp_path):
  # BUILD with a pair as state sets attributes: here, of the class itself.
  write_zip(tmp_path / 'x.ckpt', b'cargparse\nNamespace\n(N}X\x01\x00\x00\x00aK\x01stb.')
  read_checkpoint(tmp_path / 'x.ckpt')
  assert not hasattr(argparse.Namespace(), 'a')


def test_a_zip_that_is_no_checkpoint_is_an_error(tmp_path):
  with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
    archive.writestr('readme.txt', 'hello')
  with pytest.raises(ValueError, match=r'should hold one data\.pkl and holds 0'):
    read_checkpoint(tmp_path / 'x.zip')


@pytest.mark.parametrize('content', [b'', b'hello', b'PK', b'\x80\x02K\x01.', b'\x89HDF\r\n\x1a\n'])
def test_any_other_file_is_an_error(tmp_path, content):
  (tmp_path / 'x.ckpt').write_bytes(content)
  with pytest.raises(ValueError, match='as a PyTorch checkpoint'):
    read_checkpoint(tmp_path / 'x.ckpt')


@pytest.mark.parametrize(
  'pickled, rule',
  [
    (floats(size='K\x03\x85'), 'does not fit its storage of 2 elements'),
    (floats(stride='K\x02\x85'), 'does not fit its storage of 2 elements'),
    (floats(size='J\xff\xff\xff\xff\x85'), r'size \(-1,\)'),
    (floats(size='K\x01K\x02\x86'), r'stride \(1,\)'),
    (floats(n=3), 'has 8 bytes, not 3 elements of float32'),
  ],
)
def test_a_tensor_outside_its_storage_is_an_error(tmp_path, pickled, rule):
  write_zip(tmp_path / 'good.ckpt', floats(), **{'0': np.float32([1, 2]).tobytes()})
  np.testing.assert_array_equal(read_checkpoint(tmp_path / 'good.ckpt'), [1, 2])
  write_zip(tmp_path / 'x.ckpt', pickled, **{'0': np.float32([1, 2]).tobytes()})
  with pytest.raises(ValueError, match=rule):
    read_checkpoint(tmp_path / 'x.ckpt')


def test_a_missing_storage_is_an_error(tmp_path):
  write_zip(tmp_path / 'x.ckpt', floats())
  with pytest.raises(ValueError, match='storage 0 is missing'):
    read_checkpoint(tmp_path / 'x.ckpt')


def test_pytorch_reads_what_we_write(tmp_path):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed (and is not required)')
  tree = read_checkpoint(GOLDENS / 'torch_dtypes.pt')
  del tree['plain']  # its set: PyTorch's restricted reader takes none
  write_checkpoint(tmp_path / 'x.ckpt', tree)
  with torch.serialization.safe_globals([argparse.Namespace]):
    written = torch.load(tmp_path / 'x.ckpt', weights_only=True)
    recorded = torch.load(GOLDENS / 'torch_dtypes.pt', weights_only=True)
  for name, x in written.items():
    if isinstance(x, torch.Tensor):
      assert x.dtype == recorded[name].dtype and torch.equal(x, recorded[name])
  assert written['args'] == recorded['args']


def test_a_written_pickle_needs_nothing_else_of_the_machine():
  # Only opcodes of protocol 2 and the names of the table: what PyTorch 1.7 reads.
  pickled = torch_pickle.dump({'x': np.zeros((2, 3), np.float32)}, lambda x: '0')
  tree = torch_pickle.load(io.BytesIO(pickled), lambda key, dtype, n: np.arange(n, dtype=dtype))
  np.testing.assert_array_equal(tree['x'], [[0, 1, 2], [3, 4, 5]])


class TestTorchScript:
  FILE = GOLDENS / 'torch_script.pt'

  def test_parameters_and_buffers_are_read_by_their_paths(self):
    tensors = read_torchscript(self.FILE)
    assert list(tensors)[:3] == ['every_second', 'stem.conv3d.weight', 'stem.bn.weight']
    assert len(tensors) == 1 + 2 * 6
    np.testing.assert_array_equal(tensors['every_second'], [0, 2, 4])
    kernel = tensors['blocks.0.conv3d.weight']
    np.testing.assert_array_equal(kernel, np.arange(12, dtype=np.float32).reshape(4, 3, 1, 1, 1))
    # Recorded as the unit's fifth tensor, counted from its first value, 4.
    np.testing.assert_array_equal(tensors['blocks.0.bn.running_var'], 4 + np.arange(4))

  def test_it_is_told_from_a_checkpoint(self):
    assert is_torchscript(self.FILE)
    assert not is_torchscript(GOLDENS / 'torch_dtypes.pt')
    assert not is_torchscript(GOLDENS / 'torch_dtypes_legacy.pt')
    with pytest.raises(ValueError, match='holds no TorchScript module'):
      read_torchscript(GOLDENS / 'torch_dtypes.pt')

  def test_its_code_is_not_looked_at(self, tmp_path):
    file = tmp_path / 'other.pt'
    with zipfile.ZipFile(self.FILE) as old, zipfile.ZipFile(file, 'w') as new:
      for name in old.namelist():
        new.writestr(name, b'1/0' if '/code/' in name else old.read(name))
    assert list(read_torchscript(file)) == list(read_torchscript(self.FILE))
