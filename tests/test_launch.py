"""The launch scripts parse, and set what the program reads."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from videogpt_jax.training import distributed

SCRIPTS = sorted(Path('launch').glob('*.sh'))
MANIFESTS = sorted(Path('launch').glob('*.yaml'))


def pod(manifest):
  (job,) = manifest['spec']['replicatedJobs']
  return job['template']['spec'], job['template']['spec']['template']['spec']


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda s: s.name)
def test_a_script_parses(script):
  subprocess.run(['bash', '-n', script], check=True)
  if shutil.which('shellcheck'):
    subprocess.run(['shellcheck', script], check=True)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda s: s.name)
def test_a_script_without_arguments_says_how_it_is_called(script):
  done = subprocess.run(['bash', script], capture_output=True, text=True)
  assert done.returncode == 2
  assert f'launch/{script.name} ' in done.stderr


@pytest.mark.parametrize('file', [*SCRIPTS, *MANIFESTS], ids=lambda f: f.name)
def test_a_preempted_run_is_told_from_a_failed_one_by_its_status(file):
  status = re.search(r'(?:preempted=|values: \[)(\d+)', file.read_text()).group(1)
  assert int(status) == distributed.EXIT_PREEMPTED


@pytest.mark.parametrize('file', MANIFESTS, ids=lambda f: f.name)
def test_a_manifest_has_a_pod_for_every_process(file):
  manifest = yaml.safe_load(file.read_text())
  job, spec = pod(manifest)
  (container,) = spec['containers']
  assert manifest['kind'] == 'JobSet'
  assert job['parallelism'] == job['completions']
  assert container['command'] == ['python', '-m', 'videogpt_jax.main']
  environment = {entry['name']: entry['value'] for entry in container.get('env', [])}
  if 'google.com/tpu' in container['resources']['limits']:
    assert not environment  # of TPU slices jax.distributed asks their own environment
    grid = spec['nodeSelector']['cloud.google.com/gke-tpu-topology']
    a, b = map(int, grid.split('x'))
    assert a * b == job['parallelism'] * container['resources']['limits']['google.com/tpu']
  else:
    assert set(environment) == {distributed.ADDRESS, distributed.COUNT}
    assert int(environment[distributed.COUNT]) == job['parallelism']
    assert environment[distributed.ADDRESS].startswith(
      f'{manifest["metadata"]["name"]}-{manifest["spec"]["replicatedJobs"][0]["name"]}-0-0.'
    )
