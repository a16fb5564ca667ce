"""Files that break off, crash or hang their decoder, or turn bad while they are read."""

import dataclasses
import functools
import importlib
import logging
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time
import types

import av
import numpy as np
import pytest

from data.convert import convert
from data.formats import Item, Options, UnusableError, folder
from tests.input.reading import config_of
from tests.input.shared_inputs import INPUTS, needs_inputs
from tests.input.writing import write_frames, write_images, write_video
from videogpt_jax import pixels, readers
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation.clip_sets import FolderClips
from videogpt_jax.framing import Framing, reframe
from videogpt_jax.input import contents, decoders, faults, pipeline, recording, replaced
from videogpt_jax.input import film as film_module
from videogpt_jax.input.decoders import scan
from videogpt_jax.input.helper_process import HelperProcess
from videogpt_jax.input.recording import BrokenRecordingError


@pytest.fixture(autouse=True)
def _nothing_replaced():
  replaced.report()


def _take(config, n=6, batch_size=3, **how):
  batches = pipeline.train_batches(config, batch_size=batch_size, seed=5, **how)
  return [next(batches) for _ in range(n)]


@pytest.mark.parametrize(
  ('codec', 'suffix'), [('libx264', 'mkv'), ('libvpx', 'webm'), ('mpeg4', 'avi'), ('wmv2', 'wmv')]
)
def test_a_download_that_stopped_is_told_where_the_container_says_its_size(codec, suffix, tmp_path):
  images = list(np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), np.uint8))
  path = write_frames(tmp_path / f'a.{suffix}', images, codec, options={'g': '4'})
  assert not scan(path).fault
  content = path.read_bytes()
  path.write_bytes(content[: len(content) * 3 // 5])
  with pytest.raises(BrokenRecordingError, match=r'cut short after|decoding fails after'):
    scan(path)
  kept = scan(path, partly=True)
  assert 3 < len(kept) < 30 and kept.fault


@needs_inputs
def test_what_breaks_off_is_skipped_kept_or_stops(tmp_path, caplog):
  folder = tmp_path / 'videos'
  for name in 'abc':
    write_video(folder / f'{name}.mkv')
  cut = folder / 'cut.mp4'
  cut.write_bytes((INPUTS / 'mp4_download_cut_short.mp4').read_bytes())
  with caplog.at_level(logging.WARNING):
    info = contents.describe(config_of('folder', folder))
    kept = contents.describe(config_of('folder', folder, broken='keep'))
  assert info.n_train + info.n_test == 3 and kept.n_train + kept.n_test == 4
  assert 'cut.mp4: decoding fails after 9 frames' in caplog.text
  assert 'cut.mp4: used as far as it can be' in caplog.text
  whole = scan(INPUTS / 'mp4_download_cut_short.mp4', partly=True)
  assert decoders.read(whole, np.arange(9), Framing((4, 4))).shape == (9, 4, 4, 3)
  with pytest.raises(UserError, match=r'1 recording cannot be used: cut.mp4: decoding fails'):
    contents.describe(config_of('folder', folder, broken='stop'))
  with pytest.raises(UserError, match='one of skip, keep, stop'):
    config_of('folder', folder, broken='ignore')


def _folder(tmp_path, bad='c', n=5):
  """Videos a, b, ... of 12 frames to train on, of which `bad` turns bad after the first look."""
  folder = tmp_path / 'videos'
  for name in 'abcdefg'[:n]:
    write_video(folder / 'train' / f'{name}.mkv', n_frames=12)
  write_video(folder / 'test' / 'z.mkv')
  config = config_of('folder', folder)
  contents.describe(config)
  (folder / 'train' / f'{bad}.mkv').write_bytes(b'overwritten')
  return config


def test_a_file_that_turns_bad_gives_its_place_to_the_next_and_is_reported(tmp_path, caplog):
  config = _folder(tmp_path)
  with caplog.at_level(logging.WARNING):
    whole = _take(config)
    (line,) = replaced.report()
  assert ' of train/c.mkv: decoding fails (Invalid data' in line and line.startswith('replaced ')
  assert caplog.text.count('another clip takes its place') == 1
  for step in (2, 5):
    (again,) = _take(config, 1, start_step=step)
    np.testing.assert_array_equal(again['video'], whole[step]['video'])


def test_the_clip_that_takes_the_place_is_the_next_recordings(tmp_path):
  config = _folder(tmp_path)
  clips = contents.open_clips(config, 'train')
  for start in (0.0, 0.4, 0.9):
    bad, good = (clips.read(number, start)['video'].numpy() for number in (2, 3))
    np.testing.assert_array_equal(bad, good)
  assert any('3 clips' in line for line in replaced.report())


def test_one_reader_or_four_give_the_same_batches(tmp_path, monkeypatch):
  config = _folder(tmp_path)
  whole = _take(config)
  for n in (1, 4):
    monkeypatch.setattr(pipeline.tf.data, 'AUTOTUNE', n)
    for ours, theirs in zip(_take(config), whole, strict=True):
      np.testing.assert_array_equal(ours['video'], theirs['video'])


def test_a_broken_frame_of_the_only_recording_costs_the_clips_that_show_it(tmp_path):
  write_images(tmp_path / 'a', range(1, 13))
  (tmp_path / 'a/3.png').write_bytes(b'broken')
  write_images(tmp_path / 'test', range(5))
  config = config_of('folder', tmp_path)
  whole = _take(config)
  (line,) = replaced.report()
  assert 'of a: 3.png: no readable picture' in line
  first = (pixels.to_uint8(np.concatenate([b['video'] for b in whole]))[:, 0, 0, 0, 0] / 10).round()
  assert set(first) <= {3, 4, 5, 6, 7, 8}  # frames count from 0
  np.testing.assert_array_equal(_take(config, 1, start_step=3)[0]['video'], whole[3]['video'])
  with pytest.raises(UserError, match=r'a: 3\.png: no readable picture'):
    _take(dataclasses.replace(config, broken='stop'))


@pytest.mark.parametrize(
  ('rule', 'n', 'said'),
  [
    ('skip', 2, 'train/a: 3.png: no readable'),
    ('keep', 3, ''),
    ('stop', 0, 'a: 3.png: no readable'),
  ],
)
def test_a_broken_frame_costs_its_recording_alone_in_shards(rule, n, said, tmp_path):
  for name in ('train/a', 'train/b', 'test/c'):
    write_images(tmp_path / name, range(1, 6))
  (tmp_path / 'train/a/3.png').write_bytes(b'broken')
  options = Options(resolution=4, broken=rule)
  listing = folder.list_items(str(tmp_path), options)
  if rule == 'stop':
    with pytest.raises(UserError, match=said):
      [convert('folder', item, options) for item in listing.items]
    return
  results = [convert('folder', item, options) for item in listing.items]
  assert [len(records) for records, _ in results].count(1) == n
  assert ''.join(problem for _, problem in results).startswith(said)


def test_a_file_that_turns_bad_stops_the_run_if_that_is_wanted(tmp_path):
  config = dataclasses.replace(_folder(tmp_path), broken='stop')
  with pytest.raises(UserError, match=r'cannot be read any further: train/c.mkv: decoding fails'):
    _take(config)


def test_if_all_files_turn_bad_the_run_ends_with_a_line(tmp_path):
  config = _folder(tmp_path, bad='a', n=1)
  with pytest.raises(UserError, match='can be read any more'):
    _take(config)


class _Stuck:
  """Pickles as a call of another function, so that it runs in the process that reads it."""

  def __init__(self, function, *arguments):
    self._call = function, arguments

  def __reduce__(self):
    return self._call


@pytest.mark.parametrize(
  ('fault', 'said'),
  [
    (_Stuck(time.sleep, 60), 'no sign of life for 0.5 s'),
    (_Stuck(os.abort), 'crashes .SIGABRT'),
    (_Stuck(os._exit, 3), 'crashes .status 3'),
    (functools.partial(int, 'x'), 'fails .ValueError: invalid literal'),
  ],
)
def test_a_decoder_that_hangs_or_crashes_is_a_broken_file_and_the_next_one_works(
  tmp_path, monkeypatch, fault, said
):
  path = write_video(tmp_path / 'a.mkv')
  assert len(scan(path)) == 8
  monkeypatch.setattr(decoders, 'PATIENCE', 0.5)
  with pytest.raises(BrokenRecordingError, match=said):
    decoders._call(fault)
  monkeypatch.setattr(decoders, 'PATIENCE', 60.0)
  assert len(scan(path)) == 8


def test_a_file_that_never_answers_is_left_out(tmp_path, monkeypatch):
  path = tmp_path / 'a.mp4'
  os.mkfifo(path)  # opening it waits for a writer
  monkeypatch.setattr(decoders, 'PATIENCE', 0.5)
  with pytest.raises(BrokenRecordingError, match='no sign of life'):
    decoders._call(_Stuck(open, str(path), 'rb'))


def _prepared(path, source):
  format = importlib.import_module(f'data.formats.{source}')
  item = Item(path.name, 'train', path=str(path))
  if source == 'folder':
    item, *_ = format.list_items(str(path), Options()).items
  return [list(clip.frames) for clip in format.read(item, Options())]


@pytest.mark.parametrize(
  'read',
  [
    lambda path: readers.read_frames('frames', path, readers.Take(readers.Cut(), (4, 4), most=2)),
    lambda path: FolderClips(path.parent).read([0]),
    lambda path: _prepared(path, 'folder'),
    lambda path: _prepared(path, 'videos'),
  ],
  ids=['sample --frames', 'evaluate', 'prepare', "prepare of another's list"],
)
def test_a_decoder_takes_no_reader_with_it(read, tmp_path, monkeypatch):
  path = write_video(tmp_path / 'a.mkv')
  read(path)

  call = decoders._call
  crash = lambda task: call(_Stuck(os.abort) if task.func is recording.read else task)
  monkeypatch.setattr(decoders, '_call', crash)
  with pytest.raises((UserError, UnusableError), match='its decoder crashes'):
    read(path)


@pytest.mark.parametrize('framing', [None, Framing((4, 6))])
def test_frames_of_pieces_are_those_of_the_whole(framing, tmp_path, monkeypatch):
  video = scan(write_video(tmp_path / 'a.mkv', n_frames=9))
  whole = recording.read(video, np.arange(9), framing)
  call, calls = decoders._call, []
  monkeypatch.setattr(decoders, 'BYTES', 4 * whole[0].nbytes)
  monkeypatch.setattr(decoders, '_call', lambda task: calls.append(task) or call(task))
  pieces = np.stack(list(decoders.frames(video, np.arange(9), framing)))
  np.testing.assert_array_equal(pieces, whole)
  assert len(calls) == 3


def test_a_preempted_job_reads_on_until_it_has_saved():
  """The signal goes to every process of the job."""
  process = HelperProcess()
  try:
    os.kill(process.number, signal.SIGTERM)
    assert os.getpgid(process.number) != os.getpgid(0)
    assert process.do(pickle.dumps(functools.partial(pow, 2, 3)), patience=60) == ('done', 8)
  finally:
    process.end()


def test_decoding_processes_end_with_the_program(tmp_path):
  program = (
    'import videogpt_jax.input.decoders as d\n'
    f'd.scan({str(write_video(tmp_path / "a.mkv"))!r})\n'
    'print(*d.processes(), flush=True)\n'
    'import os; os.kill(os.getpid(), 9)\n'
  )
  root = pathlib.Path(__file__).parents[2]
  ended = subprocess.run([sys.executable, '-c', program], cwd=root, capture_output=True, timeout=60)
  pid = int(ended.stdout)
  for _ in range(100):
    if not pathlib.Path(f'/proc/{pid}').exists():
      return
    time.sleep(0.1)
  os.kill(pid, signal.SIGKILL)
  pytest.fail('a decoding process is left over')


@pytest.mark.parametrize(
  'name',
  ['tit\udce9.mkv', 'a:b.mkv', 'new\nline.mkv', '%03d.mkv'],
  ids=['latin-1', 'address', 'two lines', 'pattern'],  # pytest's workers exchange UTF-8 alone
)
def test_names_of_any_bytes_are_read_and_shown(tmp_path, name):
  path = write_video(tmp_path / 'a.mkv')
  os.rename(path, os.fsencode(str(tmp_path)) + b'/' + os.fsencode(name))
  assert len(scan(str(tmp_path / name))) == 8
  shown = faults.printable(name)
  assert shown.isprintable() and '\n' not in shown and shown.encode()


def test_any_name_is_one_line_and_letters_and_spaces_stay():
  names = ['caf\udce9.mkv', 'a\nb\x1b[1m', '日本\u3000a\xa0b ü', 'right\u202eleft', '\ud800']
  shown = [r'caf\xe9.mkv', r'a\nb\x1b[1m', '日本\u3000a\xa0b ü', r'right\u202eleft', r'\ud800']
  assert list(map(faults.printable, names)) == shown


def test_a_folder_of_any_bytes_trains(tmp_path, capfd, caplog):
  folder = tmp_path / 'vid\udce9os'
  os.mkdir(os.fsencode(str(folder)))
  for i in range(3):
    path = write_video(tmp_path / f'{i}.mkv')
    os.rename(path, os.fsencode(str(folder)) + b'/caf\xe9%d.mkv' % i)
  (folder / 'bad.mp4').touch()
  config = config_of('folder', folder)
  assert contents.describe(config).n_train == 2
  assert _take(config, 1)[0]['video'].shape == (3, 4, 4, 4, 3)
  assert 'Traceback' not in capfd.readouterr().err
  assert 'skipped 1 of' in caplog.text and caplog.text.encode()


def test_every_fault_is_one_line_without_a_traceback(tmp_path):
  (tmp_path / 'playlist.m3u8').write_text('#EXTM3U\n#EXTINF:1,\nhttp://localhost:1/a.ts\n')
  (tmp_path / 'text.mp4').write_text('no video\n' * 99)
  (tmp_path / 'empty.mp4').touch()
  (tmp_path / 'folder.mp4').mkdir()
  for path in (*sorted(tmp_path.iterdir()), tmp_path / 'missing.mp4'):
    with pytest.raises(BrokenRecordingError) as error:
      scan(path)
    assert '\n' not in str(error.value)
  assert 'permission denied' in faults.reason(PermissionError(13, 'x'))
  assert 'memory' in faults.reason(MemoryError())


def test_a_broadcast_recorded_from_the_middle_begins_at_its_first_key_frame(tmp_path):
  images = [np.full((64, 80, 3), 10 * i + 5, np.uint8) for i in range(24)]
  options = {'g': '9', 'bf': '2', 'preset': 'veryfast'}
  path = write_frames(tmp_path / 'a.ts', images, options=options, rate=25)
  whole = scan(path)
  theirs = list(whole.frames(np.arange(24), None))
  packet = 188
  content = path.read_bytes()
  path.write_bytes(content[len(content) // 5 // packet * packet :])
  late = scan(path)
  assert 8 <= len(late) < len(whole) and late.stamps[0] in whole.keys
  ours = list(late.frames(np.arange(len(late)), None))
  np.testing.assert_array_equal(ours, theirs[-len(ours) :])


def test_a_stream_that_begins_late_ends_no_film(tmp_path):
  late = tmp_path / 'b.ts'
  with av.open(str(late), 'w') as container:
    film, sound = container.add_stream('mpeg4', rate=10), container.add_stream('mp2', rate=44100)
    film.width, film.height, film.pix_fmt = 48, 36, 'yuv420p'
    frame = av.VideoFrame.from_ndarray(np.zeros((36, 48, 3), np.uint8), format='rgb24')
    container.mux([*film.encode(frame), *film.encode()])
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), 's16', 'mono')
    silence.sample_rate = 44100
    container.mux([*sound.encode(silence), *sound.encode()])
  path = write_video(tmp_path / 'a.ts')
  path.write_bytes(path.read_bytes() + late.read_bytes())
  assert len(scan(path)) in (8, 9)

  def demux(stream):
    yield from (1, 2)
    raise IndexError('list index out of range')  # as PyAV does at times

  stream = types.SimpleNamespace(container=types.SimpleNamespace(demux=demux))
  assert list(film_module.packets_of(stream)) == [1, 2]


@pytest.mark.parametrize(
  ('codec', 'form', 'suffix', 'head'),
  [
    ('mjpeg', 'yuvj420p', 'mjpeg', 0),
    ('libvpx-vp9', 'yuv420p', 'ivf', 32),  # bytes of its own head
    ('libx264', 'yuv420p', 'h264', 0),
  ],
)
def test_a_stream_whose_packets_change_size_is_told(codec, form, suffix, head, tmp_path):
  sizes = ((48, 64), (64, 80))
  parts = [
    write_frames(tmp_path / f'{h}.{suffix}', [np.zeros((h, w, 3), np.uint8)] * 6, codec, form)
    for h, w in sizes
  ]
  assert scan(parts[0]).size == sizes[0] and not scan(parts[0]).remarks
  both = tmp_path / f'both.{suffix}'
  both.write_bytes(parts[0].read_bytes() + parts[1].read_bytes()[head:])
  video = scan(both)
  assert len(video) == 12 and video.size is None and 'change size' in video.remarks[0]
  assert [f.shape[:2] for f in video.frames(np.array([0, 11]), None)] == list(sizes)


@needs_inputs
def test_frames_that_change_size_are_each_resized_and_said(caplog, tmp_path):
  path = INPUTS / 'mkv_size_changes.mkv'
  video = scan(path)
  assert len(video) == 48 and video.size is None and 'change size' in video.remarks[0]
  frames = list(video.frames(np.array([0, 47]), None))
  assert frames[0].shape != frames[1].shape
  clip = recording.read(video, np.array([0, 47]), Framing((20, 20)))
  # Frames as they are shown are first scaled to square pixels; those of a clip come in one step.
  assert np.abs(clip[1] - reframe(frames[1], Framing((20, 20)))).mean() < 4
