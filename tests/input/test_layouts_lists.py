"""How lists name recordings, classes and splits."""

import json
import re

import pytest

from tests.input.finding import found, told
from tests.input.reading import config_of
from tests.input.writing import write_images, write_video
from videogpt_jax.errors import UserError
from videogpt_jax.input import contents


def test_lists_decide_classes_and_splits_and_missing_files_are_counted(tmp_path):
  for name in 'abcdef':
    write_images(tmp_path / 'frames' / name, range(2))
  lines = ['clip,verb,part', 'frames/a,run,train', 'frames/b,sit,train', 'frames/c,run,val']
  lines += [f'frames/{name},sit,test' for name in ('d', 'x', 'y', 'z', 'w')]
  (tmp_path / 'clips.csv').write_text('\n'.join(lines))
  layout = found(tmp_path, columns='path=clip, label=verb, split=part')
  assert [(e.recording.name, e.split, e.label) for e in layout.entries] == [
    ('frames/a', 'train', 'run'),
    ('frames/b', 'train', 'sit'),
    ('frames/c', 'val', 'run'),
    ('frames/d', 'test', 'sit'),
  ]
  assert layout.remarks == ['4 listed files missing: frames/x, frames/y, frames/z and 1 more']
  with pytest.raises(UserError, match=r'path=video.*it has clip, verb, part'):
    found(tmp_path, columns='path=video')
  with pytest.raises(UserError, match=r"must be like 'path=clip"):
    found(tmp_path, columns='clip')


RECORDS = [
  {'id': 'a', 'class': 0, 'set': 'train'},
  {'id': 'b', 'class': 1, 'set': 'train'},
  {'id': 'c', 'class': 0, 'set': 'test'},
]
ANNOTATIONS = [
  {'subset': subset, 'annotations': {'label': label}, 'duration': 10.0}
  for subset, label in (('train', '0'), ('train', '1'), ('validate', '0'))
]


@pytest.mark.parametrize(
  'lists',
  [
    {'train.txt': 'a 0\nb 1\n', 'val.txt': 'c 0\n'},
    {'train.txt': 'frames/a 0\nframes/b 1\n', 'test.txt': 'frames/c 0\n'},
    {'all.txt': 'frames/a 0 train\nframes/b 1 train\nframes/c 0 test\n'},
    {'all.csv': 'frames/a,0,train\nframes/b,1,train\nframes/c,0,test\n'},
    {'all.csv': 'path;label;split\nframes\\a;0;train\nframes\\b;1;train\nframes\\c;0;test\n'},
    {'all.tsv': 'name\tlabel\tsplit\na\t0\ttrain\nb\t1\ttrain\nc\t0\tvalidation\n'},
    {'a.json': RECORDS},
    {'a.json': {'train': RECORDS[:2], 'val': RECORDS[2:]}},
    {'a.json': {row['id']: ANNOTATIONS[i] for i, row in enumerate(RECORDS)}},
    {'a.jsonl': '\n'.join(json.dumps(row) for row in RECORDS)},
    {
      'train.json': [{'id': 'a', 'label': 'x', 'template': '0'}, {'id': 'b', 'template': '[1]'}],
      'validation.json': [{'id': 'c', 'template': '[0]'}],
      'labels.json': {'0': '0', '1': '1'},
    },
  ],
)
def test_lists_of_many_forms(tmp_path, lists):
  for name in 'abcd':
    write_images(tmp_path / 'frames' / name, range(2))
  for name, content in lists.items():
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
  layout = found(tmp_path)
  assert [(e.recording.name, e.label) for e in layout.entries] == [
    ('frames/a', '0'),
    ('frames/b', '1'),
    ('frames/c', '0'),
  ]
  assert [entry.split == 'train' for entry in layout.entries] == [True, True, False]


def test_a_list_in_each_split_leaves_the_splits_to_the_folders(tmp_path):
  for name, label in (('train/a', 'x'), ('train/b', 'y'), ('validation/c', 'x')):
    write_images(tmp_path / name, range(2))
    folder, file = name.split('/')
    with (tmp_path / folder / 'metadata.jsonl').open('a') as lines:
      lines.write(json.dumps({'file_name': file, 'label': label}) + '\n')
  assert [(split, label) for *_, split, label in told(tmp_path)] == [
    ('train', 'x'),
    ('train', 'y'),
    ('val', 'x'),
  ]


def test_ucf101_has_classes_by_number_and_an_official_split(tmp_path):
  for name in ('Archery/v_1.avi', 'Bowling/v_2.avi', 'Bowling/v_3.avi', 'Bowling/v_4.avi'):
    write_video(tmp_path / 'UCF-101' / name)
  lists = tmp_path / 'ucfTrainTestlist'
  lists.mkdir()
  (lists / 'classInd.txt').write_text('1 Archery\n2 Bowling\n')
  (lists / 'trainlist01.txt').write_text('Archery/V_1.avi 1\nBowling/v_2.avi 2\n')
  (lists / 'testlist01.txt').write_text('Bowling/v_3.avi\n')
  (lists / 'trainlist02.txt').write_text('Bowling/v_3.avi 2\n')
  assert told(tmp_path) == [
    ('UCF-101/Archery/v_1.avi', 8, 'train', 'Archery'),
    ('UCF-101/Bowling/v_2.avi', 8, 'train', 'Bowling'),
    ('UCF-101/Bowling/v_3.avi', 8, 'test', 'Bowling'),
  ]
  assert found(tmp_path).remarks == ['official split 01 of 01, 02']


def test_kinetics_clips_are_named_by_their_seconds(tmp_path):
  header = 'label,youtube_id,time_start,time_end,split\n'
  (tmp_path / 'train.csv').write_text(f'{header}juggling,aaa,3,13,train\nyoga,bbb,0,10,train\n')
  (tmp_path / 'validate.csv').write_text(f'{header}juggling,ccc,7,17,validate\n')
  for name in ('videos/aaa_000003_000013.mp4', 'videos/juggling/ccc_000007_000017.mp4'):
    write_video(tmp_path / name)
  assert [(split, label) for *_, split, label in told(tmp_path)] == [
    ('train', 'juggling'),
    ('val', 'juggling'),
  ]


def test_a_list_of_paths_elsewhere_and_a_list_of_nothing(tmp_path):
  for name in 'ab':
    write_images(tmp_path / 'far' / name, range(2))
  (tmp_path / 'lists').mkdir()
  absolute = tmp_path / 'lists/some.txt'
  absolute.write_text(f'{tmp_path}/far/a\n../far/b\n')
  assert [name for name, *_ in told(absolute)] == ['a', 'b']
  absolute = tmp_path / 'lists/none.txt'
  absolute.write_text('x.mp4 1\ny.mp4 2\nz.mp4 3\nw.mp4 4\n')
  with pytest.raises(UserError, match=r'names 4 files, none of which is there: x.mp4, y.mp4, z'):
    found(absolute)


def _without_labels(tmp_path, lists):
  for folder, file in (('0', 'a'), ('1', 'b'), ('0', 'c'), ('2', 'd')):
    write_images(tmp_path / 'frames' / folder / file, range(2))
  for file, content in lists.items():
    (tmp_path / file).write_text(content if isinstance(content, str) else json.dumps(content))
  return found(tmp_path)


@pytest.mark.parametrize(
  'lists',
  [
    {  # Something-Something's
      'train.json': [{'id': 'a', 'template': 'x'}, {'id': 'b', 'template': 'y'}],
      'validation.json': [{'id': 'c', 'template': 'x'}],
      'test.json': [{'id': 'd'}],
    },
    {  # Kinetics'
      'train.csv': 'label,name,split\nx,a,train\ny,b,train\n',
      'validate.csv': 'label,name,split\nx,c,validate\n',
      'test.csv': 'name,split\nd,test\n',
    },
    {'train.txt': 'a x\nb y\n', 'val.txt': 'c x\n', 'test.txt': 'd\n'},
  ],
)
def test_a_test_list_without_labels_is_left_out_and_said_and_folders_name_no_classes(
  tmp_path, lists
):
  layout = _without_labels(tmp_path, lists)
  assert layout.classes() == ('x', 'y')
  assert [(e.split, e.label) for e in layout.entries] == [
    ('train', 'x'),
    ('val', 'x'),
    ('train', 'y'),
  ]
  assert list(layout.remarks) == [
    'test has no classes, which training has: its 1 recording is left out'
  ]


def test_a_held_out_folder_without_classes_is_left_out_and_one_that_lacks_some_is_not(tmp_path):
  for name in ('train/x/a', 'train/y/b', 'val/x/c', 'test/d', 'test/e'):
    write_images(tmp_path / name, range(2))
  layout = found(tmp_path)
  assert {e.split for e in layout.entries} == {'train', 'val'} and layout.classes() == ('x', 'y')
  assert layout.remarks[0].startswith('test/ has no classes, which training has: its 2 recordings')


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-32', 'utf-8-sig'])
@pytest.mark.parametrize('file', ['all.csv', 'all.tsv', 'all.json', 'all.txt'])
def test_lists_in_encodings_that_say_themselves_are_read(tmp_path, file, encoding):
  for name in ('a', 'grün'):
    write_images(tmp_path / 'frames' / name, range(2))
  rows = [('path', 'label'), ('frames/a', 'x'), ('frames/grün', 'y')]
  sign = {'all.tsv': '\t', 'all.txt': ' '}.get(file, ',')
  text = '\n'.join(sign.join(row) for row in (rows[1:] if file == 'all.txt' else rows))
  if file == 'all.json':
    text = json.dumps(dict(rows[1:]), ensure_ascii=False)
  (tmp_path / file).write_text(text, encoding=encoding)
  assert [(name, label) for name, _, _, label in told(tmp_path)] == rows[1:]


@pytest.mark.parametrize(
  ('file', 'content', 'why'),
  [
    ('train.json', b'[{"id": "a", ', 'cannot be read as a list (Expecting'),
    ('train.jsonl', b'{"id": "a"}\n{"id"\n', 'cannot be read as a list (Expecting'),
    ('train.csv', 'path,label\na,x\n'.encode('utf-16-le'), 'cannot be read as a list (no text'),
    (
      'train.csv',
      b'id,label\nx,0\ny,1\nz,0\nw,0\n',
      'names 4 files, none of which is there: x, y, z and',
    ),
    ('all.txt', b'x.mp4 1\ny.mp4 2\n', 'names 2 files, none of which is there: x.mp4, y.mp4;'),
  ],
)
def test_a_list_in_a_folder_that_is_of_no_use_is_said(tmp_path, file, content, why):
  write_images(tmp_path / 'a', range(2))
  write_images(tmp_path / 'b', range(2))
  (tmp_path / file).write_bytes(content)
  (tmp_path / 'notes.txt').write_text('some words\nabout it all\n')
  (tmp_path / 'settings.json').write_text('{"fps": 30}')
  layout = found(tmp_path)
  assert len(layout.entries) == 2
  (line,) = layout.skipped
  assert line.name == file and why in line.reason
  with pytest.raises(UserError, match=re.escape(f'{file} {why}')):
    found(tmp_path / file)


def test_lists_of_held_out_recordings_alone_are_refused(tmp_path):
  write_images(tmp_path / 'frames/a', range(5))
  (tmp_path / 'val.csv').write_text('path\nframes/a\n')
  with pytest.raises(UserError, match=r'1 recording, .*all of them held out \(val\): none is left'):
    contents.describe(config_of('folder', tmp_path))


def test_a_folder_of_nothing_but_a_list_says_what_it_names(tmp_path):
  (tmp_path / 'clips.csv').write_text('path,label\n' + ''.join(f'{n}.mp4,x\n' for n in 'abcd'))
  with pytest.raises(
    UserError, match=r'clips.csv: names 4 files, none .*: a.mp4, b.mp4, c.mp4 and 1'
  ):
    contents.describe(config_of('folder', tmp_path))


def test_one_list_of_several_that_is_of_no_use_is_said_beside_the_others(tmp_path):
  for name in 'ab':
    write_images(tmp_path / 'frames' / name, range(2))
  (tmp_path / 'train.csv').write_text('path,label\na,x\nb,y\n')
  (tmp_path / 'val.csv').write_text('path,label\nc,x\nd,y\n')
  layout = found(tmp_path)
  assert len(layout.entries) == 2
  assert [str(line)[:24] for line in layout.skipped] == ['val.csv: names 2 files, ']


@pytest.mark.parametrize('held_out', ['c', 'gone'])
def test_a_list_of_folders_with_their_numbers_of_frames(held_out, tmp_path):
  for name in 'abc':
    write_images(tmp_path / 'frames' / name, range(3))
  (tmp_path / 'train.txt').write_text('frames/a 3 0\nframes/b 3 1\n')
  (tmp_path / 'val.txt').write_text(f'frames/{held_out} 3 1\n')
  there = [('train', '0'), ('train', '1'), ('val', '1')]
  gone = held_out == 'gone'
  assert [place for _, _, *place in map(list, told(tmp_path))] == list(map(list, there[: 3 - gone]))
  assert [line.name for line in found(tmp_path).skipped] == ['val.txt'] * gone


def test_classes_in_a_list_of_an_old_encoding_are_readable(tmp_path):
  for name in 'ab':
    write_images(tmp_path / name, range(3))
  (tmp_path / 'list.csv').write_bytes('path,label\na,Küche\nb,Fußball\n'.encode('cp1252'))
  assert found(tmp_path).classes() == ('Fußball', 'Küche')


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('README.txt', 'of words ' * 99 + '\n' + 'x' * 999),
    ('list.csv', 'path,label\n~no_such_user/a,x\n' + 'y' * 999 + ',z\n'),
    ('list.json', '["a\\u0000b", 3, null]'),
  ],
)
def test_texts_that_are_no_paths_name_nothing(name, content, tmp_path):
  for clip in 'bcd':
    write_images(tmp_path / clip, range(3))
  (tmp_path / name).write_text(content)
  assert len(told(tmp_path)) == 3
  for path in ('~no_such_user/x', 'x' * 999, 'a\0b'):
    with pytest.raises(UserError, match='does not exist'):
      found(path)


def test_columns_of_a_list_that_are_not_known_are_told(tmp_path):
  for clip in 'abc':
    write_images(tmp_path / clip, range(3))
  rows = ['file;Klasse;Teil', 'a;x;train', 'b;y;train', 'c;y;test']
  (tmp_path / 'list.csv').write_text('\n'.join(rows))
  (remark,) = found(tmp_path).remarks
  assert remark == 'no label and no split in the list; dataset.columns may name Klasse, Teil'
  layout = found(tmp_path, columns='path=file, label=Klasse, split=Teil')
  assert not layout.remarks and layout.classes() == ('x', 'y')
