"""Zips that people bring."""

import io
import stat
import zipfile

import pytest

from videogpt_jax.archive import unpack_zip
from videogpt_jax.errors import UserError


def write_zip(file, contents, **attributes):
  """Writes a zip of bytes by name, with attributes of the entries set."""
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in contents.items():
      info = zipfile.ZipInfo(name)
      info.compress_type = zipfile.ZIP_DEFLATED
      for key, value in attributes.items():
        setattr(info, key, value)
      archive.writestr(info, content)
  return file


def found(folder):
  files = (file for file in folder.rglob('*') if file.is_file())
  return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_zip_is_unpacked_without_what_a_mac_adds(tmp_path):
  wanted = {'cats/a.mp4': b'a', 'dogs/deep/b.mp4': b'bb', 'empty.txt': b''}
  added = {'__MACOSX/cats/._a.mp4': b'x', 'a..b/c.mp4': b'c'}
  file = write_zip(tmp_path / 'videos.zip', wanted | added | {'dogs/': b''})
  folder = unpack_zip(file, tmp_path / 'out')
  assert found(folder) == wanted | {'a..b/c.mp4': b'c'}


def test_what_is_there_stays_and_what_broke_off_is_unpacked_again(tmp_path):
  file = write_zip(tmp_path / 'videos.zip', {'a': b'12', 'b': b'34'})
  folder = unpack_zip(file, tmp_path / 'out')
  (folder / 'a').write_bytes(b'1')
  changed = (folder / 'b').stat().st_mtime_ns
  unpack_zip(file, folder)
  assert found(folder) == {'a': b'12', 'b': b'34'}
  assert (folder / 'b').stat().st_mtime_ns == changed


@pytest.mark.parametrize(
  'name', ['../a.mp4', 'x/../../a.mp4', '/a.mp4', r'..\a.mp4', r'\a', 'C:/a.mp4', 'a\0/../../b']
)
def test_a_path_that_leads_out_is_refused_before_anything_is_written(tmp_path, name):
  file = write_zip(tmp_path / 'videos.zip', {'good.mp4': b'1', 'placeholder': b'2'})
  data = file.read_bytes()
  info = zipfile.ZipInfo('placeholder')
  info.filename = info.orig_filename = name  # which the constructor would cut short
  buffer = io.BytesIO(data)
  with zipfile.ZipFile(buffer, 'a') as archive:
    archive.writestr(info, b'2')
  file.write_bytes(buffer.getvalue())
  with pytest.raises(UserError, match=r'videos\.zip cannot be unpacked \(its entry .* leads out'):
    unpack_zip(file, tmp_path / 'deep' / 'out')
  assert found(tmp_path) == {'videos.zip': buffer.getvalue()}


def test_links_are_refused(tmp_path):
  link = (stat.S_IFLNK | 0o777) << 16
  file = write_zip(tmp_path / 'videos.zip', {'a': b'/etc/passwd'}, external_attr=link)
  with pytest.raises(UserError, match='is a link'):
    unpack_zip(file, tmp_path / 'out')


def test_an_encrypted_zip_is_refused(tmp_path):
  file = write_zip(tmp_path / 'videos.zip', {'a': b'1'})
  data = bytearray(file.read_bytes())
  data[data.index(b'PK\x01\x02') + 8] |= 1
  file.write_bytes(data)
  with pytest.raises(UserError, match='is encrypted'):
    unpack_zip(file, tmp_path / 'out')


def test_what_unpacks_to_many_times_its_size_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr('videogpt_jax.files._PLAUSIBLE_BYTES', 1000)
  file = write_zip(tmp_path / 'videos.zip', {'a': bytes(10**6)})
  with pytest.raises(UserError, match='unpack to 1000000'):
    unpack_zip(file, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_full_disk_is_said_before_it_is_full(tmp_path, monkeypatch):
  file = write_zip(tmp_path / 'videos.zip', {'a': bytes(10**6)})
  usage = type('Usage', (), {'free': 10})
  monkeypatch.setattr('shutil.disk_usage', lambda path: usage)
  with pytest.raises(UserError, match='the disk has 0 left'):
    unpack_zip(file, tmp_path / 'out')
  assert not found(tmp_path / 'out')


@pytest.mark.parametrize('cut', [0, 20, 60, -10])
def test_a_damaged_zip_is_one_line(tmp_path, cut):
  file = write_zip(tmp_path / 'videos.zip', {'a': b'123' * 100})
  file.write_bytes(file.read_bytes()[:cut])
  with pytest.raises(UserError, match='cannot be unpacked') as told:
    unpack_zip(file, tmp_path / 'out')
  assert '\n' not in str(told.value)


def test_damaged_contents_are_one_line(tmp_path):
  file = write_zip(tmp_path / 'videos.zip', {'a': bytes(range(256)) * 10})
  data = bytearray(file.read_bytes())
  data[40] ^= 255
  file.write_bytes(data)
  with pytest.raises(UserError, match='cannot be unpacked'):
    unpack_zip(file, tmp_path / 'out')


def test_a_zip_that_is_not_there_is_said(tmp_path):
  with pytest.raises(FileNotFoundError, match='does not exist'):
    unpack_zip(tmp_path / 'videos.zip', tmp_path / 'out')
