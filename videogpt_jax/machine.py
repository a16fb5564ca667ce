"""Finds the accelerators, and sets the environment that JAX and TensorFlow read as they start."""

import contextlib
import glob
import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

import jax

CPU_FLAG = '--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT'
"""Makes XLA's CPU backend call a faster library for products and 2-D convolutions: up to twice the
speed on AVX-512."""

CPU_FLAG_JAXLIBS = ('0.10.', '0.11.', '0.12.')
"""Releases of jaxlib that know the flag. XLA aborts on a flag that it does not know."""

HUGE_PAGES = 'glibc.malloc.hugetlb=1'
"""Setting of glibc, from 2.35 on, that asks for huge pages: 1.1 to 1.4 times the speed of small
models' training steps on a virtual machine."""

OFFERED = '/sys/kernel/mm/transparent_hugepage/enabled'

DETERMINISTIC_FLAG = '--xla_gpu_deterministic_ops=true'
"""Makes XLA's GPU backend leave out kernels whose sums depend on the order of threads."""

CACHE_BYTES = 2 * 2**30
"""Compiled programs that are kept; those not used for longest are removed."""

CACHED_SECONDS = 0.2
"""Programs that compile faster are not kept."""

_KERAS, _LEFT_OUT = 'TF_USE_LEGACY_KERAS', 'true'
"""TensorFlow then looks for a package tf_keras, which is not here, and leaves Keras out."""

NO_TPU = {
  'TPU_SKIP_MDS_QUERY': '1',  # skips the query to a cloud's metadata server
  'TPU_WORKER_HOSTNAMES': 'localhost',  # libtpu warns where these two are unset
  'TPU_ACCELERATOR_TYPE': 'v5litepod-1',
}

REMEDIES = {
  'NVIDIA GPU': "pip install 'jax[cuda13]', or 'jax[cuda12]' for an older driver",
  'TPU': "pip install 'jax[tpu]'",
}
"""Accelerators that the package knows, and what makes JAX see them."""


def accelerator(dev: str = '/dev') -> str | None:
  """Returns which of `REMEDIES` has a device file, or None.

  Args:
    dev: folder of device files.
  """
  if glob.glob(f'{dev}/nvidia[0-9]*'):
    return 'NVIDIA GPU'
  if os.path.exists(f'{dev}/dxg') and shutil.which('nvidia-smi'):  # Windows' Linux
    return 'NVIDIA GPU'
  if glob.glob(f'{dev}/accel[0-9]*') or glob.glob(f'{dev}/vfio/[0-9]*'):
    return 'TPU'
  return None


def silence_missing_tpu(dev: str = '/dev'):
  """Keeps an installed libtpu quiet on a machine without a TPU. Call it before JAX starts.

  JAX offers the machine to every installed platform. libtpu, which the planner compiles with, then
  searches for a TPU and reports at length that there is none.
  """
  if glob.glob(f'{dev}/accel*') or glob.glob(f'{dev}/vfio/*'):
    return
  for name, value in NO_TPU.items():
    os.environ.setdefault(name, value)


def speed_up_cpu(jaxlib_version: str, dev: str = '/dev'):
  """Adds `CPU_FLAG` to XLA_FLAGS if JAX will run on the CPU. Call it before JAX starts.

  Args:
    jaxlib_version: such as '0.12.0'.
    dev: folder of device files.
  """
  given = os.environ.get('XLA_FLAGS', '')
  if not _on_cpu(dev) or not jaxlib_version.startswith(CPU_FLAG_JAXLIBS):
    return
  if 'xla_cpu_experimental_ynn_fusion_type' not in given:
    os.environ['XLA_FLAGS'] = f'{given} {CPU_FLAG}'.strip()


def _on_cpu(dev: str) -> bool:
  """Whether JAX will run on the CPU."""
  platforms = os.environ.get('JAX_PLATFORMS', '')
  return platforms == 'cpu' if platforms else accelerator(dev) is None


def use_huge_pages(dev: str = '/dev', offered: str = OFFERED):
  """Restarts the program with its arrays in huge pages, where the CPU computes and Linux has them.

  `HUGE_PAGES` is read as a program begins, and the process stays the same. What the user has set
  stands. Call it before threads start.

  Args:
    dev: folder of device files.
    offered: file of Linux that says whether programs must ask for huge pages.
  """
  given = os.environ.get('GLIBC_TUNABLES', '')
  with contextlib.suppress(OSError):  # not Linux
    if '[madvise]' in Path(offered).read_text() and 'hugetlb' not in given and _on_cpu(dev):
      os.environ['GLIBC_TUNABLES'] = ':'.join(filter(None, [given, HUGE_PAGES]))
      sys.stdout.flush()
      os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_compiled(jaxlib_version: str):
  """Keeps compiled programs in the user's cache folder, so that the next process starts sooner.

  A folder that the user has chosen stands (JAX_COMPILATION_CACHE_DIR). Call it before JAX compiles.

  Args:
    jaxlib_version: such as '0.12.0'.
  """
  if jax.config.jax_compilation_cache_dir:
    return
  folder = cache_folder(f'jaxlib-{jaxlib_version}-{_cpu()}')
  with contextlib.suppress(OSError):  # no home, or one that cannot be written to
    folder.mkdir(parents=True, exist_ok=True)
  if not os.access(folder, os.W_OK):
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_compilation_cache_max_size', CACHE_BYTES)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', CACHED_SECONDS)


def cache_folder(name: str) -> Path:
  """Returns a folder of the package's in the user's cache, which may not exist yet."""
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return Path(home) / 'videogpt_jax' / name


def _cpu() -> str:
  """Names the kind of this CPU: programs compiled for another one may not run."""
  kind = [platform.machine(), platform.processor()]
  with contextlib.suppress(OSError):  # not Linux
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    kind += sorted({line for line in lines if line.startswith(('flags', 'Features', 'model name'))})
  return hashlib.sha256('\n'.join(kind).encode()).hexdigest()[:8]


def slim_tensorflow():
  """Has TensorFlow, which only reads clips here, neither greet nor load Keras: 80 MB and a second.

  Call it before TensorFlow is imported. Keras itself can be imported all the same.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  os.environ.setdefault(_KERAS, _LEFT_OUT)


def whole_tensorflow():
  """Undoes what `slim_tensorflow` does to Keras, for code that needs it."""
  if os.environ.get(_KERAS) == _LEFT_OUT:
    del os.environ[_KERAS]


def compute_deterministically():
  """Adds `DETERMINISTIC_FLAG` to XLA_FLAGS. Call it before JAX starts."""
  given = os.environ.get('XLA_FLAGS', '')
  if DETERMINISTIC_FLAG not in given:
    os.environ['XLA_FLAGS'] = f'{given} {DETERMINISTIC_FLAG}'.strip()


def idle_accelerator(backend: str, dev: str = '/dev') -> str | None:
  """Returns a warning if JAX uses the CPU of a machine that has an accelerator, else None.

  Args:
    backend: JAX's default backend.
    dev: folder of device files.
  """
  found = accelerator(dev)
  if backend != 'cpu' or os.environ.get('JAX_PLATFORMS') or not found:
    return None
  return f"JAX runs on the CPU and this machine's {found} stays idle; {REMEDIES[found]}"
