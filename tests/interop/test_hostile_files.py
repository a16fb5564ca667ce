"""Files made to do harm: refused in one line, with little memory and nothing run.

Each is read in a process whose memory is limited, so that a reader that makes room for what a file
claims fails here.
"""

import argparse
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from videogpt_jax.errors import UserError
from videogpt_jax.interop import contents, hyper_parameters

READ = """
import resource, sys
from benchmarks import peak_memory
from videogpt_jax import readers
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import clip_sets, weights
from videogpt_jax.interop import published
read = {
  'weights': weights.read_tensors,
  'model': published.load,
  'actions': lambda path: readers.actions(path, 2, 3),
  'clips': lambda path: clip_sets.open_clips(path).read([0]),
}
taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + (1 << 31)
resource.setrlimit(resource.RLIMIT_AS, (taken, taken))
for what, path in zip(sys.argv[1::2], sys.argv[2::2]):
  try:
    read[what](path)
    print('read', path)
  except UserError as error:
    print('refused', error)
print(peak_memory.megabytes())
"""


def npy_claiming(shape):
  header = str({'descr': '<f4', 'fortran_order': False, 'shape': shape}).encode()
  header += b' ' * (-(len(header) + 11) % 64) + b'\n'
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + bytes(64)


def zip_of(path, members, compression=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, 'w', compression) as archive:
    for name, content in members.items():
      archive.writestr(name, content)


def zip_of_zeros(path, name, n_gigabytes):
  with (
    zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    archive.open(name, 'w', force_zip64=True) as member,
  ):
    for _ in range(64 * n_gigabytes):
      member.write(bytes(1 << 24))


def safetensors_of(offsets, shape):
  header = json.dumps({'a': {'dtype': 'F32', 'shape': shape, 'data_offsets': offsets}}).encode()
  return struct.pack('<Q', len(header)) + header + bytes(16)


def tensor(size, stride, offset=0, n=4):
  """A pickle of one float32 tensor in a storage of n elements."""
  put = lambda x: pickle.dumps(x, 2)[2:-1].replace(b'q\x00', b'')
  return (
    b'\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage'
    b'ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu'
    + put(n)
    + b'tQ'
    + put(offset)
    + put(size)
    + put(stride)
    + b'\x89ccollections\nOrderedDict\n)RtRs.'
  )


def write_all(folder):
  """Writes the files; returns what reads each, by name."""
  for name, shape in {'huge': (10**12, 2), 'overflow': (2**62, 2**62, 2)}.items():
    (folder / f'{name}.npy').write_bytes(npy_claiming(shape))
  zip_of(folder / 'huge.npz', {'video.npy': npy_claiming((10**6, 10**6, 3))})
  zip_of_zeros(folder / 'bomb.npz', 'video.npy', 2)
  zip_of_zeros(folder / 'bomb.pt', 'x/data/0', 2)
  for name, size, stride, offset in (
    ('beyond', (5,), (1,), 0),
    ('offset', (2,), (1,), 2**40),
    ('backwards', (2,), (-1,), 3),
    ('strides', (2, 2), (1, 2**62), 0),
  ):
    stored = np.zeros(4, np.float32).tobytes()
    zip_of(folder / f'{name}.pt', {'x/data.pkl': tensor(size, stride, offset), 'x/data/0': stored})
  (folder / 'memo.pkl').write_bytes(b'\x80\x02}r\xff\xff\xff\x3f.')
  zip_of(folder / 'memo.pt', {'x/data.pkl': b'\x80\x02}r\xff\xff\xff\x3f.'})
  (folder / 'long.pkl').write_bytes(b'\x80\x04}\x8e' + struct.pack('<Q', 10**12) + b'a')
  (folder / 'self.pkl').write_bytes(b'\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.')
  for name, offsets, shape in (
    ('outside', [0, 10**9], [250_000_000]),
    ('backwards', [16, 0], [4]),
    ('wrong', [0, 16], [2**40]),
  ):
    (folder / f'{name}.safetensors').write_bytes(safetensors_of(offsets, shape))
  (folder / 'header.safetensors').write_bytes(struct.pack('<Q', 2**60) + b'{}')
  (folder / 'zeros').write_bytes(bytes(1 << 20))
  with tarfile.open(folder / 'bomb.tar.gz', 'w:gz', compresslevel=1) as archive:
    info = tarfile.TarInfo('variables/variables.index')
    info.size = 2 << 30
    with open('/dev/zero', 'rb') as zeros:
      archive.addfile(info, zeros)
  with tarfile.open(folder / 'out.tar.gz', 'w:gz') as archive:
    archive.add(folder / 'zeros', '../outside')
  readers = {'.npy': 'actions', '.npz': 'clips', '.pt': 'weights', '.pkl': 'weights'}
  readers |= {'.safetensors': 'weights', '.gz': 'weights'}
  return {file.name: readers[file.suffix] for file in folder.iterdir() if file.suffix in readers}


@pytest.mark.slow
def test_files_made_to_do_harm_are_refused_in_little_memory(tmp_path):
  files = write_all(tmp_path)
  assert len(files) == 19
  arguments = [x for name, what in files.items() for x in (what, str(tmp_path / name))]
  done = subprocess.run(
    [sys.executable, '-c', READ, *arguments], capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr[-2000:]
  *lines, megabytes = done.stdout.splitlines()
  assert [line.split()[0] for line in lines] == ['refused'] * len(files), lines
  for name, line in zip(files, lines, strict=True):
    assert name in line, line
  assert int(megabytes) < 2000
  assert not (tmp_path.parent / 'outside').exists()


def test_a_tensor_that_shows_few_numbers_often_is_refused():
  with pytest.raises(UserError, match='no numbers of its own'):
    contents.checked_tensors({'w': np.broadcast_to(np.float32(1), (2**20, 2**20))})


def test_a_model_larger_than_its_file_is_refused():
  """Before its arrays are made: all of its tensors share the same numbers."""
  args = argparse.Namespace(
    embedding_dim=64, n_codes=64, n_hiddens=512, n_res_layers=2, downsample=(2, 2, 2)
  )
  config = hyper_parameters.vqvae_config(args)
  few = {'a': np.zeros(1000, np.float32)}
  shared = few | {f'a{i}': few['a'] for i in range(10_000)}
  with pytest.raises(UserError, match=r'a model of \d+ MiB, and it holds 0 MiB'):
    contents.vqvae_state(config, (), [], shared)
