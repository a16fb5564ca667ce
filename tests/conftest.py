"""Eight simulated devices and quick compiling for all tests. Has to run before JAX starts."""

import collections
import os
import shutil
import tempfile

import pytest

QUICK = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
"""Tests compile much and compute little: with these, compiling takes half the time."""

EIGHT = '--xla_force_host_platform_device_count=8'

os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {QUICK} {EIGHT}'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
# libtpu, which tests of planning compile with, must not be asked for a TPU.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

# Addresses of buckets are opened by fsspec, where a test can put a bucket of its own.
os.environ['EPATH_USE_TF'] = '0'

# A choice about huge pages stands: programs that tests start need not start twice.
os.environ.setdefault('GLIBC_TUNABLES', 'glibc.malloc.hugetlb=0')

# Tests, their workers and the processes that they start share what they compile.
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')
OWN_CACHE = None
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  OWN_CACHE = os.environ['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='compiled-')


@pytest.hookimpl(trylast=True)  # what -m leaves out is gone by then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]):
  """Files that may take longest begin first, then those with most tests.

  Two workers take whole files in this order. What takes longest has a limit of its own; begun last,
  it would run beside an idle worker.
  """
  longest = collections.Counter()
  for item in items:
    mark = item.get_closest_marker('timeout')
    limit = mark.args[0] if mark else float(config.getini('timeout'))
    longest[item.path] = max(longest[item.path], limit)
  tests = collections.Counter(item.path for item in items)
  items.sort(key=lambda item: (-longest[item.path], -tests[item.path]))


def pytest_unconfigure():
  """Removes the cache that this process made."""
  if OWN_CACHE:
    shutil.rmtree(OWN_CACHE, ignore_errors=True)
