"""Files as people have them become shards, and are inspected."""

import pytest

from data import local
from data.formats import Options, folder
from tests.input.shared_inputs import INPUTS, needs_inputs
from tests.input.test_layouts import SHARED
from videogpt_jax.input import DatasetConfig, inspection, pipeline


@needs_inputs
@pytest.mark.parametrize('name', [*SHARED, 'lerobot_v3'])
def test_shards_hold_what_the_layout_holds(name, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  options, source = Options(resolution=(12, 16)), str(INPUTS / name)
  config = DatasetConfig('folder', source, resolution=(12, 16), sequence_length=4)
  found = inspection.inspect(config, batch_size=2, seconds=0.0)
  job = local.Job('folder', source, str(tmp_path / 'out'), options)
  manifest = local.run(job, folder.list_items(source, options), n_workers=1)
  said = found.to_json()
  assert {split: total['clips'] for split, total in manifest.totals().items()} == {
    split: total['recordings'] for split, total in said['splits'].items()
  }
  assert {split: total['frames'] for split, total in manifest.totals().items()} == {
    split: total['frames'] for split, total in said['splits'].items()
  }
  assert manifest.action_dim == found.info.action_dim and not found.skipped
  shards = DatasetConfig('tfrecord', job.out, resolution=(12, 16), sequence_length=4)
  ours, theirs = (next(pipeline.test_batches(c, batch_size=1)) for c in (config, shards))
  assert ours.keys() == theirs.keys()
  for key in ours.keys() - {'video'}:
    assert (ours[key] == theirs[key]).all(), key
  assert abs(theirs['video'] / 255.0 - 0.5 - _as_float(ours['video'])).max() < 0.003


def _as_float(video):
  return video / 255.0 - 0.5 if video.dtype == 'uint8' else video
