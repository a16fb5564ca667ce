"""The machine that a run was made on."""

import os
import platform
from importlib import metadata
from typing import Any

from videogpt_jax.machine import REMEDIES, accelerator

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch')

ENVIRONMENT = ('XLA_FLAGS', 'JAX_PLATFORMS', 'XLA_PYTHON_CLIENT_PREALLOCATE')


def describe() -> dict[str, Any]:
  """Returns the device that JAX uses, and the versions that it runs with."""
  import jax

  from benchmarks import cards

  device, card = jax.devices()[0], cards.here()
  return {
    'device': device.device_kind,
    'platform': jax.default_backend(),
    'compute_capability': str(getattr(device, 'compute_capability', '')),
    'memory_bytes': (device.memory_stats() or {}).get('bytes_limit'),
    'peak_flops': card and card.flops,
    'peak_bandwidth': card and card.bandwidth,
    'cpus': len(os.sched_getaffinity(0)),
    'python': platform.python_version(),
    'packages': {name: version for name in PACKAGES if (version := _version(name))},
    'environment': {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
  }


def no_gpu(found: str) -> str:
  """Returns the line for a machine on which JAX uses another platform."""
  kind = accelerator()
  remedy = f'; {REMEDIES[kind]}' if kind == 'NVIDIA GPU' else ''
  where = f'JAX runs on the {found.upper()}{remedy}'
  return f'no GPU: {where}. --size=tiny runs every part there at tiny size'


def _version(package: str) -> str | None:
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return None
