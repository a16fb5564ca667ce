"""A part of `make chaos`: 5 kills, a signal of each kind, a full disk, 20 mutants of each kind."""

import signal

import pytest

from tests.chaos import mutants, runs
from tests.chaos.kinds import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize('kind', KINDS)
def test_mutants_are_read_or_refused_in_one_line(kind, tmp_path):
  found = mutants.run(kind, 20, tmp_path / 'files')
  assert not found.faults, '\n'.join(found.faults)
  assert sum(found.counts.values()) == 20 and found.most['MB'] < 2000


def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path):
  found = runs.kills(5, tmp_path)
  assert not found.faults, '\n'.join(found.faults)
  assert sum(found.counts.values()) == 5


def test_a_signal_ends_any_stage_within_seconds_and_the_same_command_goes_on(tmp_path):
  numbers = [signal.SIGINT, signal.SIGTERM] * 3
  found = runs.signals(list(zip(runs.MOMENTS[::2], numbers, strict=False)), tmp_path)
  assert not found.faults, '\n'.join(found.faults)
  assert found.most['seconds to the end'] < 30  # 5, on a machine that does nothing else


def test_a_full_disk_and_a_workdir_that_is_removed_are_told_of_in_one_line(tmp_path):
  found = runs.disk(tmp_path)
  assert not found.faults, '\n'.join(found.faults)
