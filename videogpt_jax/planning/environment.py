"""What libtpu wants to hear on a machine without a TPU, where it is a compiler only."""

import glob
import os

QUIET = {
  'TPU_SKIP_MDS_QUERY': '1',  # ask no metadata server of a cloud
  'TPU_WORKER_HOSTNAMES': 'localhost',  # it warns where these two are unset
  'TPU_ACCELERATOR_TYPE': 'v5litepod-1',
}


def describe_missing_tpu():
  """Keeps an installed libtpu silent where there is no TPU; on a TPU's machine nothing happens.

  JAX offers every installed platform the machine, and libtpu, which planning and its tests need,
  then looks for its TPU at length. To be called before JAX starts.
  """
  if glob.glob('/dev/accel*') or glob.glob('/dev/vfio/*'):
    return
  for name, value in QUIET.items():
    os.environ.setdefault(name, value)
