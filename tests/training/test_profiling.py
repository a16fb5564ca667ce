"""A trace of some steps holds these steps, in the formats of TensorBoard and of Perfetto."""

import gzip
import json

import jax
import pytest
from etils.epath import Path

from tests.training import pair
from tests.training.tiny import ListLog, Stop, StoppedError, data
from videogpt_jax.errors import UserError
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit
from videogpt_jax.training.profiling import Profiler, ProfileSteps
from videogpt_jax.training.sharding import MeshConfig, make_mesh

CONFIG = TrainingConfig(steps=6, batch_size=8, evaluate_every=6, log_every=1, checkpoint_every=2)


def train(folder, steps, log=None):
  """Trains with these steps traced; returns what was said and the traces' files."""
  said, mesh = [], make_mesh(MeshConfig(), jax.devices()[:1])
  profiler = Profiler(ProfileSteps.parse(steps), Path(folder / 'tensorboard' / 'pair'), said.append)
  log = log or ListLog('generator/loss')
  with Checkpoints(folder / 'checkpoints') as checkpoints:
    fit(pair.make_stage(), CONFIG, data(), mesh, checkpoints, log, profiler=profiler)
  return said, traces(folder)


def traces(folder):
  return sorted((folder / 'tensorboard' / 'pair' / 'plugins' / 'profile').glob('*/*'))


def test_a_trace_holds_its_steps_and_no_others(tmp_path):
  said, files = train(tmp_path, '3-5')
  assert said == [f'steps 3-5 are traced in {tmp_path}/tensorboard/pair/plugins/profile']
  assert sum(file.name.endswith('.xplane.pb') for file in files) == 1
  for name in ('perfetto_trace.json.gz', '.trace.json.gz'):
    (file,) = (file for file in files if file.name.endswith(name))
    events = json.loads(gzip.decompress(file.read_bytes()))['traceEvents']
    steps = [event for event in events if event.get('name') == 'train']
    assert sorted(int(event['args']['step_num']) for event in steps) == [3, 4, 5]
    inside = [event for event in events if event.get('name') == 'PjitFunction(train_step)']
    assert len(inside) >= 3 and all(event['dur'] > 0 for event in inside)


def test_steps_that_lie_behind_a_resumed_run_are_told_of(tmp_path):
  with pytest.raises(StoppedError):
    train(tmp_path, '5-6', Stop(5, 'generator/loss'))  # in mid-trace
  said, _ = train(tmp_path, '4-5')
  assert said == ['steps 4-5 are not traced, since training goes on at step 5']
  jax.profiler.start_trace(tmp_path / 'free')  # nothing is being traced any more
  jax.profiler.stop_trace()


@pytest.mark.parametrize('text', ['12-10', '0-3', '3-', 'x', '-5', '1-2-3', ''])
def test_what_names_no_steps_is_refused(text):
  with pytest.raises(UserError, match='must be FIRST-LAST, counted from 1'):
    ProfileSteps.parse(text)


def test_steps_beyond_the_last_are_refused():
  steps = ProfileSteps.parse('10-12')
  steps.check('vqvae', 12)
  steps.check('vqvae', 0)  # taken as it is
  with pytest.raises(UserError, match=r'\(10-12\) must end by the last step of prior, 11'):
    steps.check('prior', 11)
  assert ProfileSteps.parse('7') == ProfileSteps(7, 7)
