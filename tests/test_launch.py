"""The launch scripts pass their checks and, with stubs on the PATH, run the right commands."""

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from videogpt_jax.training import distributed

SCRIPTS = sorted(Path('launch').glob('*.sh'))
MANIFESTS = sorted(Path('launch').glob('*.yaml'))
CACHE = 'JAX_COMPILATION_CACHE_DIR'
FLAGS = ['--config=tests/tiny_config.py', "--config.dataset.path=gs://b/it's here"]

GCLOUD = """#!/usr/bin/env bash
# Notes its arguments and "----". A slice goes through the states in $STATES, one for each question,
# and stays in the last. Runs end with the statuses in $STATUSES.
printf '%s\\n' "$@" ---- >> "$CALLS"
next() {  # takes the first word off a file unless it is the last
  read -r -a words < "$1"
  if (( ${#words[@]} > 1 )); then echo "${words[*]:1}" > "$1"; fi
  echo "${words[0]}"
}
case "$*" in
  *describe*)
    state=$(next "$STATES")
    case $state in
      NONE) echo 'ERROR: NOT_FOUND: no such request' >&2; exit 1 ;;
      BROKEN) echo 'ERROR: cannot reach the server' >&2; exit 1 ;;
    esac
    echo "$state" ;;
  *videogpt_jax.main*) exit "$(next "$STATUSES")" ;;
esac
"""


@pytest.fixture
def stubs(tmp_path, monkeypatch):
  """A function that puts a program on the PATH; all of them note their calls."""
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  monkeypatch.setenv('CALLS', str(tmp_path / 'calls'))
  monkeypatch.delenv(CACHE, raising=False)

  def add(name, text):
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(0o755)

  return add


def calls(tmp_path):
  return [call.splitlines() for call in (tmp_path / 'calls').read_text().split('----\n')[:-1]]


def tpu_vm(stubs, tmp_path, states, statuses='0', **environment):
  """Runs tpu_vm.sh against a made-up cloud; returns the finished process and gcloud's calls."""
  stubs('gcloud', GCLOUD)
  stubs('sleep', '#!/bin/sh\n')
  for name, words in (('STATES', states), ('STATUSES', statuses)):
    (tmp_path / name).write_text(words)
    environment[name] = str(tmp_path / name)
  environment |= {'REPOSITORY': 'https://host/a repository', 'REVISION': 'abc123'}
  command = ['bash', 'launch/tpu_vm.sh', 'bair', 'v5litepod-8', 'us-west4-a', 'gs://bucket/a/run']
  done = subprocess.run(
    [*command, *FLAGS],
    env=os.environ | environment,
    capture_output=True,
    text=True,
    timeout=60,
  )
  return done, calls(tmp_path)


def verbs(gcloud):
  """What each call does; a run is told from an installation."""
  names = {'describe', 'create', 'delete', 'ssh'}
  verb = lambda call: next(word for word in call if word in names)
  return [
    'run' if any('videogpt_jax.main' in word for word in call) else verb(call) for call in gcloud
  ]


def check_main(arguments):
  """The flags exist, the configuration too, and all of its keys that are named."""
  done = subprocess.run(
    [sys.executable, '-m', 'videogpt_jax.main', *arguments, '--only_check_args'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('script', [*SCRIPTS, Path('.ci/run')], ids=lambda s: s.name)
def test_a_script_passes_shellcheck(script):
  beside_python = Path(sysconfig.get_path('scripts')) / 'shellcheck'
  shellcheck = beside_python if beside_python.exists() else shutil.which('shellcheck')
  assert shellcheck, 'make setup installs shellcheck'
  done = subprocess.run([shellcheck, script], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda s: s.name)
def test_a_script_without_arguments_says_how_it_is_called(script):
  done = subprocess.run(['bash', script], capture_output=True, text=True)
  assert done.returncode == 2
  assert f'launch/{script.name} ' in done.stderr
  assert 'set -euo' not in done.stderr


@pytest.mark.parametrize('file', [*SCRIPTS, *MANIFESTS], ids=lambda f: f.name)
def test_a_preempted_run_is_told_from_a_failed_one_by_its_status(file):
  status = re.search(r'(?:preempted=|values: \[)(\d+)', file.read_text()).group(1)
  assert int(status) == distributed.EXIT_PREEMPTED


def test_a_slice_is_requested_used_and_deleted(stubs, tmp_path):
  done, gcloud = tpu_vm(stubs, tmp_path, 'NONE WAITING_FOR_RESOURCES ACTIVE')
  assert done.returncode == 0, done.stderr
  assert verbs(gcloud) == [*['describe', 'create'], *['describe'] * 2, 'ssh', 'run', 'delete']
  assert all({'--zone=us-west4-a', '--quiet'} <= set(call) for call in gcloud)
  create = gcloud[1]
  for flag in ('--accelerator-type=v5litepod-8', '--runtime-version=v2-alpha-tpuv5-lite', '--spot'):
    assert flag in create

  [run] = [call for call in gcloud if verbs([call]) == ['run']]
  assert '--worker=all' in run
  command = '\n'.join(run).split('--command=')[1].split('\n--zone')[0]
  cd, program = shlex.split(command)[:2], shlex.split(command)[3:]
  assert cd == ['cd', 'videogpt_jax']
  assert program == [
    f'{CACHE}=gs://bucket/compiled',
    *('.venv/bin/python', '-m', 'videogpt_jax.main', '--workdir=gs://bucket/a/run'),
    *FLAGS,
  ]
  check_main(program[4:])


def test_a_host_of_a_slice_installs_once_the_locked_packages_in_the_revision(stubs, tmp_path):
  _, gcloud = tpu_vm(stubs, tmp_path, 'ACTIVE')
  install = '\n'.join(gcloud[1]).split('--command=')[1].split('\n--zone')[0]
  (tmp_path / 'calls').unlink()
  home = tmp_path / 'home'
  home.mkdir()
  note = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'
  stubs('git', note + '[ "$1" != clone ] || mkdir "$4"\n')
  stubs('python3', note + '[ "$3" != venv ] || mkdir .venv\n')
  for _ in range(2):
    subprocess.run(['bash', '-c', install], cwd=home, check=True)
  first = [
    'git clone --quiet https://host/a repository videogpt_jax',
    *(again := ['git fetch --quiet', 'git checkout --quiet abc123']),
    'python3 -m pip install --quiet --user uv',
    'python3 -m uv venv --quiet --clear --python 3.12 .venv',
    'python3 -m uv pip install --quiet --python .venv/bin/python -r requirements.lock jax[tpu]',
  ]
  assert (tmp_path / 'calls').read_text().splitlines() == first + again


def test_a_slice_that_is_taken_away_is_replaced(stubs, tmp_path):
  states = 'ACTIVE SUSPENDED SUSPENDED NONE BROKEN ACTIVE'
  done, gcloud = tpu_vm(
    stubs, tmp_path, states, statuses='75 0', SPOT='', JAX_COMPILATION_CACHE_DIR='gs://other/cache'
  )
  assert done.returncode == 0, done.stderr
  done_once = ['describe', 'ssh', 'run']
  replaced = ['describe', 'describe', 'delete', 'describe', 'create', 'describe']
  assert verbs(gcloud) == [*done_once, *replaced, *done_once, 'delete']
  assert not any('--spot' in call for call in gcloud)
  assert 'requesting another' in done.stderr
  assert any(f'{CACHE}=gs://other/cache' in word for call in gcloud for word in call)


def test_a_run_that_saved_for_a_notice_goes_on_where_the_slice_is_still_there(stubs, tmp_path):
  done, gcloud = tpu_vm(stubs, tmp_path, 'ACTIVE', statuses='75 0')
  assert done.returncode == 0, done.stderr
  assert verbs(gcloud).count('run') == 2 and verbs(gcloud).count('delete') == 1


def test_a_run_that_fails_keeps_its_slice_and_its_status(stubs, tmp_path):
  done, gcloud = tpu_vm(stubs, tmp_path, 'ACTIVE', statuses='3')
  assert done.returncode == 3
  assert 'delete' not in verbs(gcloud)
  assert 'failed with status 3' in done.stderr


def test_a_failed_request_is_left_to_be_looked_at(stubs, tmp_path):
  done, gcloud = tpu_vm(stubs, tmp_path, 'FAILED')
  assert done.returncode == 1
  assert verbs(gcloud) == ['describe']
  assert 'the request failed' in done.stderr


@pytest.mark.parametrize(
  ('status', 'ends', 'requeued'),
  [(0, 0, False), (3, 3, False), (distributed.EXIT_PREEMPTED, 0, True)],
)
def test_slurm_requeues_a_preempted_run_alone(stubs, tmp_path, status, ends, requeued):
  words = f'"$(basename "$0")" "$@" "${CACHE}" ----'
  note = f'#!/bin/sh\nprintf "%s\\n" {words} >> "$CALLS"\n'
  stubs('srun', f'{note}exit {status}\n')
  stubs('scontrol', note)
  done = subprocess.run(
    ['bash', 'launch/slurm.sh', '/shared/runs/bair', *FLAGS],
    env=os.environ | {'SLURM_JOB_ID': '17'},
  )
  assert done.returncode == ends
  run, *later = calls(tmp_path)
  assert run[:2] == ['srun', '--kill-on-bad-exit=1']
  assert run[2:5] == ['.venv/bin/python', '-m', 'videogpt_jax.main']
  assert run[5:-1] == ['--workdir=/shared/runs/bair', *FLAGS]
  assert run[-1] == '/shared/runs/compiled'
  check_main(run[5:-1])
  assert [call[:-1] for call in later] == [['scontrol', 'requeue', '17']] * requeued


def test_every_process_of_a_slurm_job_has_a_gpu():
  options = dict(
    re.findall(r'^#SBATCH --([a-z-]+)=(\S+)', Path('launch/slurm.sh').read_text(), re.MULTILINE)
  )
  assert options['ntasks-per-node'] == options['gpus-per-node']
  assert options['signal'].startswith('TERM@')


def pod(manifest):
  (job,) = manifest['spec']['replicatedJobs']
  return job['template']['spec'], job['template']['spec']['template']['spec']


@pytest.mark.parametrize('file', MANIFESTS, ids=lambda f: f.name)
def test_a_manifest_has_a_pod_for_every_process(file):
  manifest = yaml.safe_load(file.read_text())
  job, spec = pod(manifest)
  (container,) = spec['containers']
  assert manifest['kind'] == 'JobSet'
  assert job['parallelism'] == job['completions']
  assert container['command'] == ['python', '-m', 'videogpt_jax.main']
  check_main(container['args'])
  environment = {entry['name']: entry['value'] for entry in container.get('env', [])}
  if 'google.com/tpu' in container['resources']['limits']:
    # jax.distributed asks a TPU slice's own environment.
    assert set(environment) == {CACHE}
    grid = spec['nodeSelector']['cloud.google.com/gke-tpu-topology']
    a, b = map(int, grid.split('x'))
    assert a * b == job['parallelism'] * container['resources']['limits']['google.com/tpu']
    assert environment[CACHE].startswith('gs://')
  else:
    assert set(environment) == {distributed.ADDRESS, distributed.COUNT, CACHE}
    assert int(environment[distributed.COUNT]) == job['parallelism']
    assert environment[distributed.ADDRESS].startswith(
      f'{manifest["metadata"]["name"]}-{manifest["spec"]["replicatedJobs"][0]["name"]}-0-0.'
    )
    (mount,) = container['volumeMounts']
    assert environment[CACHE].startswith(mount['mountPath'])
    assert mount['name'] in {volume['name'] for volume in spec['volumes']}


def test_flags_that_do_not_exist_are_found_by_these_checks():
  with pytest.raises(AssertionError, match='nothing'):
    check_main([FLAGS[0], '--config.nothing=1'])


def test_the_image_installs_the_lock_and_an_extra_that_exists():
  text = Path('launch/Dockerfile').read_text()
  extras = importlib.metadata.metadata('jax').get_all('Provides-Extra')
  named = set(re.findall(r'ACCELERATOR=(\w+)', text))
  assert named == {'tpu', 'cuda13'} and named <= set(extras)
  assert '-r requirements.lock "jax[${ACCELERATOR}]"' in text
  assert re.search(r'^FROM python:3\.1[1-3]-slim$', text, re.MULTILINE)
