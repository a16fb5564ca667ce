"""The comparison of decodings, of models drawn at random."""

import pytest

from benchmarks import ways
from tests import untrained


@pytest.mark.slow
def test_it_tells_time_passes_and_quality_of_each_way(tmp_path):
  models = [
    str(untrained.make_workdir(tmp_path / target, untrained.experiment(target=target)))
    for target in ('next', 'masked')
  ]
  rows = list(ways.rows(models, [1, 4], num=6, rounds=1))
  assert [row.name for row in rows] == [
    *('next, sequential', 'next, speculative', 'masked, 1 passes', 'masked, 4 passes')
  ]
  sequential, speculative, *masked = (row.passes for row in rows)
  assert masked == [1, 4] and sequential == 32 and 1 <= speculative <= 32
  for row in rows:
    assert row.seconds > 0
    assert set(row.quality) == {'class_accuracy'}  # clips of four frames have no FVD
    assert 0 <= float(row.quality['class_accuracy'].split()[0]) <= 1
