"""Clips of bouncing digits."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from videogpt_jax.input import DatasetConfig, contents, pipeline
from videogpt_jax.input.sources import digits

CONFIG = DatasetConfig(n_test_clips=20, resolution=40, digit_size=16, sequence_length=18)


def _clips(**changes):
  (batch,) = pipeline.test_batches(dataclasses.replace(CONFIG, **changes), batch_size=20)
  return batch


def test_clip_i_depends_on_the_data_seed_and_i_alone():
  more = _clips(n_test_clips=19)
  np.testing.assert_array_equal(_clips()['video'][:19], more['video'][:19])
  assert (_clips(data_seed=1)['video'] != _clips()['video']).any(axis=(1, 2, 3, 4)).all()


def test_splits_share_no_handwritten_image():
  train, test = (
    {image.tobytes() for image in digits.load_images(split)[0]} for split in ('train', 'test')
  )
  assert len(train) + len(test) > 1790  # next to no duplicates within a split
  assert not train & test


def test_digits_move_smoothly_inside_the_frame():
  brightness = _clips()['video'][..., 0] + 0.5
  mass = brightness.sum(axis=(2, 3))
  rows = (brightness.sum(3) * np.arange(40)).sum(2) / mass
  columns = (brightness.sum(2) * np.arange(40)).sum(2) / mass
  step = np.hypot(np.diff(rows), np.diff(columns))
  assert 0.5 < step.mean() < 2.5 and step.max() < 3.5  # digit_speed is 1.5 pixels a frame
  np.testing.assert_allclose(mass, mass.mean(1, keepdims=True) + 0 * mass, rtol=0.12)


def test_the_label_is_the_class_of_the_digit_that_is_drawn():
  images, labels = digits.load_images('test')
  batch = _clips(digit_speed=0.0)
  for video, label in zip(batch['video'], batch['label'], strict=True):
    frame = video[0, :, :, 0] + 0.5
    top, left = (int(np.nonzero(frame.sum(axis) > 0.5)[0][0]) for axis in (1, 0))
    best = {}
    for y in range(max(0, top - 6), min(24, top + 2) + 1):
      for x in range(max(0, left - 6), min(24, left + 2) + 1):
        small = frame[y : y + 16, x : x + 16].reshape(8, 2, 8, 2).mean((1, 3))
        errors = np.square(images - small).sum((1, 2))
        best[errors.min()] = labels[errors.argmin()]
    assert best[min(best)] == label


def test_two_digits_are_brighter_than_one():
  one, two = (_clips(n_digits=n)['video'].mean() + 0.5 for n in (1, 2))
  assert 1.5 * one < two < 2.2 * one


@pytest.mark.parametrize('frame_skip', [2, 3])
def test_frame_skip_leaves_out_frames(frame_skip):
  every, some = _clips(), _clips(frame_skip=frame_skip)
  np.testing.assert_allclose(
    every['video'][:, ::frame_skip], some['video'][:, : 18 // frame_skip], atol=1e-5
  )


def test_written_as_videos_they_are_a_folder_of_classes(tmp_path):
  digits.write_videos(tmp_path, CONFIG, n=6)
  folder = DatasetConfig('folder', str(tmp_path), resolution=40, sequence_length=18)
  batch = next(pipeline.train_batches(folder, batch_size=3, seed=0))
  info = contents.describe(folder)
  clips = digits.clips(CONFIG, 'train')
  written = [clips.read(tf.constant(i, tf.int64), tf.constant(0.0)) for i in range(6)]
  assert info.n_train + info.n_test == 6
  assert set(info.class_names) == {str(int(clip['label'])) for clip in written}
  for video, label in zip(batch['video'], batch['label'], strict=True):
    apart = [np.abs(255 * (video + 0.5) - clip['video']).mean() for clip in written]
    nearest = int(np.argmin(apart))
    assert apart[nearest] < 6  # of 255, which H.264 loses
    assert info.class_names[label] == str(int(written[nearest]['label']))
