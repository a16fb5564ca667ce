"""The figures of a stage by step: what is done again counts once, and a long run stays small."""

import numpy as np
import pytest
from etils import epath

from videogpt_jax.errors import UserError
from videogpt_jax.training import history
from videogpt_jax.training.history import History


def test_steps_that_are_done_again_replace_what_they_left(tmp_path):
  folder = epath.Path(tmp_path / 'vqvae')
  first = History(folder)
  first.devices = '4 x cpu'
  for step in (10, 20, 30):
    first.add(step, {'train/loss': float(step)})
  first.add(30, {'test/psnr': 7.0})
  first.save()
  again = History(folder)
  assert again.devices == '4 x cpu' and again.rows == first.rows
  again.add(20, {'train/loss': 0.5, 'train/rate': float('nan')})
  again.save()
  found = History(folder).series()
  assert found == {'train/loss': [(10, 10.0), (20, 0.5)]}


def test_a_long_run_keeps_its_first_and_last_steps_and_a_bounded_number():
  long = History(epath.Path('nowhere'))
  steps = range(1, 20 * history.MOST)
  for step in steps:
    long.add(step, {'x': 1.0} | ({'test/y': 2.0} if step % 4000 == 0 else {}))
  kept = np.array([step for step, _ in long.rows])
  assert len(kept) <= history.MOST and kept[0] == 1 and kept[-1] == steps[-1]
  assert (np.diff(kept) > 0).all() and np.diff(kept).max() < len(steps) / 100
  assert [step for step, _ in long.series()['test/y']] == [*steps[3999::4000]]


@pytest.mark.parametrize(
  'content',
  ['[]', '{"rows": 3}', '{"rows": [[1]]}', '{"rows": [[1, {"x": "a"}]]}', '{"devices": 4}'],
)
def test_a_broken_file_is_named(tmp_path, content):
  (tmp_path / history.FILE).write_text(content)
  with pytest.raises(UserError, match=r'history\.json is broken'):
    History(epath.Path(tmp_path))
