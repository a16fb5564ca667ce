"""Published peaks of NVIDIA GPUs, and what JAX says of the one at hand.

Source: NVIDIA's data sheets (H100, H200, A100, L4, L40S, B200); operations are dense, without
sparsity, in bfloat16 with sums in float32.
"""

import dataclasses

import jax


@dataclasses.dataclass(frozen=True)
class Card:
  """Peaks of a GPU: bfloat16 operations and bytes of memory traffic, per second."""

  flops: float
  bandwidth: float


CARDS = {
  'H100 PCIe': Card(756e12, 2.0e12),
  'H100 NVL': Card(835e12, 3.9e12),
  'H100': Card(989e12, 3.35e12),
  'H200': Card(989e12, 4.8e12),
  'B200': Card(2250e12, 8.0e12),
  'A100-SXM4-40GB': Card(312e12, 1.555e12),
  'A100-PCIE-40GB': Card(312e12, 1.555e12),
  'A100': Card(312e12, 2.0e12),
  'L40S': Card(362e12, 0.864e12),
  'L4': Card(121e12, 0.3e12),
}
"""Peaks by a part of the device's name; the first that fits counts."""


def card_of(device_kind: str) -> Card | None:
  """Returns the peaks of a device, such as 'NVIDIA H100 80GB HBM3', or None if none are listed."""
  words = device_kind.replace('-', ' ').split()
  for name, card in CARDS.items():
    if all(word in words for word in name.replace('-', ' ').split()):
      return card
  return None


def here() -> Card | None:
  """Returns the peaks of the device that JAX uses, or None if none are listed."""
  return card_of(jax.devices()[0].device_kind)


def peak_bytes() -> int | None:
  """Returns the most memory that JAX has held on its device, or None where that is not told."""
  return (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
