"""What samples are held against training clips for: copies, and the classes of digits."""

import numpy as np
import pytest

from videogpt_jax.evaluation import class_accuracy, nearest
from videogpt_jax.input import DatasetConfig
from videogpt_jax.input.pipeline import test_batches as read_batches
from videogpt_jax.input.pipeline import train_batches
from videogpt_jax.pixels import to_uint8


def _digits(batches):
  batch = next(batches)
  return to_uint8(batch['video'], clip=True), batch['label']


def test_copies_are_found_and_told_from_new_clips(tmp_path):
  rng = np.random.default_rng(0)
  training = rng.integers(0, 256, (20, 3, 24, 20, 3), dtype=np.uint8)
  copies = training[[7, 3]] // 2 * 2
  order, distance = nearest.nearest(copies, training, 2)
  assert order[:, 0].tolist() == [7, 3] and (distance[:, 0] < 0.01).all()
  assert (distance[:, 1] > 0.02).all()
  fresh = rng.integers(0, 256, (5, 3, 24, 20, 3), dtype=np.uint8)
  scores = nearest.copying_scores(copies, fresh, training)
  assert scores['nearest_training_samples'].value < 0.2 * scores['nearest_training_held_out'].value
  nearest.write_picture(tmp_path / 'nearest.gif', copies, training, 8)
  assert (tmp_path / 'nearest.gif').stat().st_size > 1000


def test_a_classifier_of_digits_tells_classes_and_wrong_ones():
  config = DatasetConfig(sequence_length=4, n_test_clips=120)
  training = _digits(train_batches(config, batch_size=500, seed=0))
  clips, labels = _digits(read_batches(config, batch_size=120))
  sets = {'right': (clips, labels), 'wrong': (clips, (labels + 1) % 10)}
  sets['black'] = (np.zeros_like(clips), labels)
  scores = class_accuracy.class_accuracy(training, sets)
  assert scores['right'].value > 0.8 > 0.2 > scores['wrong'].value
  assert scores['black'].value < 0.3
  low, high = scores['right'].interval
  assert low < scores['right'].value < high


@pytest.mark.parametrize(
  ('dataset', 'known'),
  [
    (DatasetConfig('digits'), True),
    (DatasetConfig('digits', n_digits=2), False),
    (DatasetConfig('folder', 'videos'), False),
  ],
)
def test_only_single_digits_are_told_apart(dataset, known):
  assert class_accuracy.tells(dataset) == known
