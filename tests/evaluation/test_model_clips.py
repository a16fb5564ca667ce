import dataclasses

import numpy as np
import pytest

from videogpt_jax.evaluation import model_clips
from videogpt_jax.pixels import to_model_range

_SHAPE = (3, 4, 5, 3)


def _batches(n=10, batch_size=4):
  video = np.random.default_rng(0).integers(0, 256, (n, *_SHAPE), dtype=np.uint8)
  for start in range(0, n, batch_size):
    rows = np.minimum(np.arange(start, start + batch_size), n - 1)
    mask = (np.arange(start, start + batch_size) < n).astype(np.float32)
    clips = to_model_range(video[rows])
    yield {'video': clips, 'label': rows.astype(np.int32), 'mask': mask}


def test_test_clips_are_gathered_without_padding():
  gathered = model_clips.collect(_batches())
  assert gathered.keys() == {'video', 'label'}
  np.testing.assert_array_equal(gathered['label'], np.arange(10))
  (whole,) = _batches(10, 10)
  np.testing.assert_array_equal(to_model_range(gathered['video']), whole['video'])
  np.testing.assert_array_equal(model_clips.collect(_batches(), 7)['video'], gathered['video'][:7])
  with pytest.raises(ValueError, match='no clips'):
    model_clips.collect(iter(()))


def test_reconstructions_are_those_of_each_clip_and_clipped():
  video = model_clips.collect(_batches())['video']
  sizes = []

  def brighten(batch):
    sizes.append(len(batch))
    return batch + 100 / 255

  result = model_clips.reconstruct(brighten, video, batch_size=4)
  np.testing.assert_array_equal(result, np.minimum(video.astype(int) + 100, 255))
  assert sizes == [4, 4, 4]  # the last one padded


def _draw(calls):
  def draw(seed, batch):
    calls.append((seed, batch['label'].tolist()))
    return (batch['label'] / 255.0)[:, None, None, None, None] * np.ones(_SHAPE)

  return draw


def _plan(order, batch_size=3, **changes):
  return model_clips.SamplingPlan(np.array(order), 'a model', batch_size=batch_size, **changes)


def test_samples_belong_to_the_clips_they_are_drawn_for(tmp_path):
  conditions, order, calls = model_clips.collect(_batches()), [3, 1, 9, 9, 0], []
  path = tmp_path / 'samples.npy'
  samples = model_clips.draw_samples(_draw(calls), conditions, _plan(order, 2), path)
  np.testing.assert_array_equal(samples[:, 0, 0, 0, 0], order)
  assert len({seed for seed, _ in calls}) == 3
  assert calls[-1][1] == [0, 0]  # padded
  np.testing.assert_array_equal(np.load(path), samples)


def test_sampling_goes_on_where_it_was_interrupted(tmp_path):
  conditions, plan, uninterrupted, calls = model_clips.collect(_batches()), _plan(range(7)), [], []
  draw = lambda function, plan, name='other.npy': np.array(
    model_clips.draw_samples(function, conditions, plan, tmp_path / name)
  )
  whole = draw(_draw(uninterrupted), plan, 'whole.npy')

  def stop(seed, batch):
    if len(calls) == 1:
      raise KeyboardInterrupt
    return _draw(calls)(seed, batch)

  with pytest.raises(KeyboardInterrupt):
    draw(stop, plan)
  np.testing.assert_array_equal(draw(_draw(calls), plan), whole)
  assert calls == uninterrupted
  draw(_draw(calls), plan)
  assert calls == uninterrupted  # nothing is left to draw


@pytest.mark.parametrize('change', [{'seed': 1}, {'model': 'another'}])
def test_samples_of_another_plan_are_not_taken_over(change, tmp_path):
  conditions, first, second = model_clips.collect(_batches()), [], []
  plan = _plan(range(7))
  for calls, each in ((first, plan), (second, dataclasses.replace(plan, **change))):
    model_clips.draw_samples(_draw(calls), conditions, each, tmp_path / 's.npy')
  assert len(second) == len(first) == 3
  assert (first == second) == ('seed' not in change)


def test_a_bad_sample_is_named(tmp_path):
  conditions = model_clips.collect(_batches())

  def draw(seed, batch):
    video = np.zeros((2, *_SHAPE))
    video[1, 2] = np.nan if 2 in batch['label'] else 0
    return video

  with pytest.raises(ValueError, match='sample 3 holds NaN'):
    model_clips.draw_samples(draw, conditions, _plan(range(6), 2), tmp_path / 's.npy')
