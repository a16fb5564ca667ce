"""The scoring networks, from the user's files to functions of 8-bit clips."""

import dataclasses
import functools
from collections.abc import Collection, Sequence

import jax
import numpy as np
from flax import nnx

from videogpt_jax.evaluation import (
  c3d,
  converted,
  i3d,
  i3d_weights,
  image_quality,
  lpips,
  resize,
  weights,
)
from videogpt_jax.evaluation.extract import Extractor

I3D_INPUT = 'shorter side to 224 (bilinear), centre crop, [-1, 1]; 400 logits'


@dataclasses.dataclass(frozen=True)
class Networks:
  """What there is to score with; None where the user has given no weights.

  Attributes:
    i3d: uint8 [N T H W 3] -> float32 [N 400], for FVD and KVD.
    c3d: uint8 [N 16 H W 3] -> float32 [N 101], for the Inception Score.
    lpips: two uint8 [N T H W 3] -> float32 [N T].
    files: the files that each came from.
  """

  i3d: Extractor | None = None
  c3d: Extractor | None = None
  lpips: Extractor | None = None
  files: dict[str, list[weights.Provenance]] = dataclasses.field(default_factory=dict)

  @property
  def compare_sets(self) -> bool:
    """False for C3D without I3D, which looks at samples alone."""
    return self.i3d is not None or self.c3d is None


def load_networks(
  fvd_weights: str = '',
  is_weights: Sequence[str] = (),
  lpips_weights: Sequence[str] = (),
  trusted: Collection[str] = (),
  devices: Sequence[jax.Device] | None = None,
) -> Networks:
  """Loads the networks whose weights are given.

  Args:
    fvd_weights: I3D's file.
    is_weights: C3D's file and the mean clip's.
    lpips_weights: the backbone's file and that of the linear layers.
    trusted: SHA-256 digests of files that are not in the table of known ones.
    devices: this host's by default.
  Raises:
    FileNotFoundError, ValueError: a file is missing, unknown, damaged, or of another network.
  """
  for flag, paths in (('is_weights', is_weights), ('lpips_weights', lpips_weights)):
    if len(paths) not in (0, 2):
      raise ValueError(f'--{flag} takes two files ({len(paths)} given); see docs/evaluation.md')
  given = {'i3d': [fvd_weights] if fvd_weights else [], 'c3d': is_weights, 'lpips': lpips_weights}
  found = {name: [weights.identify(f, trusted) for f in fs] for name, fs in given.items() if fs}
  functions = {
    'i3d': (i3d_features, lambda _: i3d.I3D(rngs=nnx.Rngs(0)), _convert_i3d),
    'c3d': (c3d_logits, lambda _: c3d.C3D(rngs=nnx.Rngs(0)), _convert_c3d),
    'lpips': (framewise_lpips, lpips.build, _convert_lpips),
  }
  extractors = {}
  for name, provenances in found.items():
    function, build, convert = functions[name]
    convert = functools.partial(convert, *given[name])
    network = converted.load(name, provenances, build, convert)
    extractors[name] = Extractor(function, network, devices)
  return Networks(**extractors, files=found)


def _convert_i3d(file: str) -> i3d.I3D:
  return i3d_weights.import_i3d(weights.read_tensors(file), file)


def _convert_c3d(file: str, mean_file: str) -> c3d.C3D:
  tensors, mean = weights.read_tensors(file), weights.read_tensors(mean_file)
  if 'mean' not in mean:
    raise ValueError(f"{mean_file} lacks the array 'mean'; give TGANv2's mean2.npz")
  return c3d.import_c3d(tensors, mean['mean'], file)


def _convert_lpips(backbone: str, linear: str) -> lpips.LPIPS:
  tensors = weights.read_tensors(backbone), weights.read_tensors(linear)
  return lpips.import_lpips(*tensors, file=f'{backbone} and {linear}')


def describe_files(networks: Networks) -> dict[str, list[dict]]:
  """The networks' files, as a result records them."""
  return {name: [dataclasses.asdict(f) for f in files] for name, files in networks.files.items()}


def i3d_features(network: i3d.I3D, clips: jax.Array) -> jax.Array:
  """I3D's logits of uint8 [N T H W 3], brought to its size and range: float32 [N 400]."""
  video = clips.astype(np.float32) / 255
  return network(2 * resize.resize_and_crop(video, i3d.RESOLUTION) - 1)


def c3d_logits(network: c3d.C3D, clips: jax.Array) -> jax.Array:
  """C3D's logits of uint8 [N 16 H W 3]: float32 [N 101]."""
  return network(clips)


def framewise_lpips(network: lpips.LPIPS, clips: jax.Array, references: jax.Array) -> jax.Array:
  """LPIPS of the frames of two uint8 [N T H W 3]: float32 [N T]."""
  return image_quality.framewise(network, clips, references)
