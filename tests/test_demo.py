"""`make demo` reaches the figures that it promises."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_demo_reaches_its_figures(tmp_path):
  command = [sys.executable, '-m', 'videogpt_jax.main', '--config=configs/demo.py']
  plain = os.environ | {'XLA_FLAGS': '', 'GLIBC_TUNABLES': ''}  # one device, as fast as it can be
  subprocess.run([*command, f'--workdir={tmp_path / "demo"}'], check=True, env=plain)
  metrics = json.loads((tmp_path / 'demo' / 'metrics.json').read_text())
  assert metrics['reconstruction_psnr'] > 22
  assert metrics['prior_bits_per_code'] < 0.6 * metrics['unigram_bits_per_code']
  assert metrics['codebook_usage'] > 0.5
  assert metrics['fvd_low'] < metrics['fvd'] < metrics['fvd_high']
  assert metrics['fvd_floor'] < metrics['fvd'] and metrics['r_fvd'] > 0
  assert metrics['class_accuracy_real'] > 0.9 and metrics['class_accuracy'] > 0.85
