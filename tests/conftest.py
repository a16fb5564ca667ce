"""Eight simulated devices, and quick compiling, for all tests; has to be said before JAX starts."""

import os

QUICK = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
"""Tests compile much and compute little: without these, compiling takes twice as long."""

EIGHT = '--xla_force_host_platform_device_count=8'

os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {QUICK} {EIGHT}'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
# libtpu, which tests of planning compile with, must not be asked for a TPU.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
