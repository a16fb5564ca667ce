"""Rows with other numbers of steps are told apart."""

import os
import pathlib
import subprocess
import sys

import pytest

from configs import ablations
from tests.conftest import QUICK
from videogpt_jax.stages.ablation import combine, suffix, with_seed, with_steps

_ROOT = pathlib.Path(__file__).parents[2]


def test_a_row_with_other_steps_has_its_own_folder():
  row = ablations.experiment('layers', '2', reduced=True)
  assert with_steps(row, {}) == row and suffix({}) == ''
  changed = with_steps(row, {'vqvae': 7, 'prior': 11})
  assert (changed.vqvae_training.steps, changed.prior_training.steps) == (7, 11)
  assert changed.name == f'{row.name}_vqvae7_prior11'
  prior_only = with_steps(row, {'prior': 11})
  assert prior_only.vqvae_training == row.vqvae_training  # a VQ-VAE that other rows have trained
  assert len({x.name for x in (row, changed, prior_only)}) == 3


def test_seeds_give_mean_deviation_and_interval():
  row = ablations.experiment('layers', '2', reduced=True)
  assert with_seed(row, 0) == row
  assert (with_seed(row, 2).name, with_seed(row, 2).seed) == (f'{row.name}_seed2', 2)
  one = {'fvd': 3.0, 'fvd_std': 1.0, 'fvd_low': 2.0, 'fvd_high': 4.0}
  assert combine([one]) == one
  both = combine([one, one | {'fvd': 5.0}])
  # Student's t with one degree of freedom: 12.706 standard errors of 1.
  expected = {'fvd': 4, 'fvd_std': 2**0.5, 'fvd_low': 4 - 12.706, 'fvd_high': 4 + 12.706}
  assert both == pytest.approx(expected)


@pytest.mark.slow
def test_the_command_takes_steps(tmp_path):
  command = [
    sys.executable,
    '-m',
    'videogpt_jax.ablate',
    '--table=T3',
    '--reduced',
    '--rows=without',
  ]
  command += [f'--workdir={tmp_path}', '--steps_vqvae=3', '--fvd_weights=']
  environment = os.environ | {'XLA_FLAGS': QUICK, 'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, env=environment)
  assert done.returncode == 0, done.stderr
  found = sorted(file.name for file in tmp_path.iterdir())
  assert found == ['T3_reduced_vqvae3.md', 'digits_axial_without_vqvae3']
