"""The scoring networks, loaded from the user's files, as functions of 8-bit clips."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence

import jax
import numpy as np
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import (
  c3d,
  converted,
  i3d,
  i3d_weights,
  image_quality,
  lpips,
  weights,
)
from videogpt_jax.evaluation.extract import Extractor
from videogpt_jax.evaluation.feature_networks import FeatureNetwork, i3d_file, of_the_user
from videogpt_jax.evaluation.protocols import Protocol
from videogpt_jax.resize import resize_and_crop, resize_without_centres

I3D_INPUTS = {
  'published': 'shorter side to 224 (bilinear), centre crop, [-1, 1]; 400 logits',
  'tf1': 'stretched to 224x224 (bilinear, without half-pixel centres), [-1, 1]; 400 logits',
}
"""How I3D receives frames, by the value of --resize: as the published code; as the first
implementation of FVD (Unterthiner et al. 2018), in TensorFlow 1."""


@dataclasses.dataclass(frozen=True)
class Networks:
  """The scoring networks; None for those without weights.

  Attributes:
    features: I3D or another, for FVD and KVD.
    c3d: uint8 [N 16 H W 3] -> float32 [N 101], for the Inception Score.
    lpips: two uint8 [N T H W 3] -> float32 [N T].
    files: the files that each was loaded from, by its name; I3D's is 'i3d'.
  """

  features: FeatureNetwork | None = None
  c3d: Extractor | None = None
  lpips: Extractor | None = None
  files: dict[str, list[weights.Provenance]] = dataclasses.field(default_factory=dict)

  @property
  def compare_sets(self) -> bool:
    """False for C3D alone: the Inception Score needs samples only."""
    return self.features is not None or self.c3d is None


def usable(networks: Networks, n_frames: int, protocol: Protocol) -> Networks:
  """Returns the networks without a feature network that cannot score, or is not asked to."""
  if networks.features is None or (protocol.compares and n_frames >= networks.features.min_frames):
    return networks
  return dataclasses.replace(networks, features=None)


_RESIZE_WARNINGS = {
  'tf1': ['--resize=tf1 gives other distances than the published code and most later ones']
}


def load_networks(
  fvd_weights: str | None = '',
  is_weights: Sequence[str] = (),
  lpips_weights: Sequence[str] = (),
  trusted: Collection[str] = (),
  devices: Sequence[jax.Device] | None = None,
  *,
  resize: str = 'published',
  feature_network: str = '',
) -> Networks:
  """Loads the networks whose weights are given.

  Args:
    fvd_weights: I3D's file, or that of `feature_network`; see feature_networks.i3d_file.
    is_weights: files of C3D and of its mean clip.
    lpips_weights: files of the backbone and of the linear layers.
    trusted: SHA-256 digests of trusted files outside the table of known files.
    devices: this host's by default.
    resize: a key of `I3D_INPUTS`.
    feature_network: MODULE:FUNCTION in place of I3D, see feature_networks.of_the_user.
  Raises:
    UserError: a file is missing, unknown, damaged, or of another network.
  """
  for flag, paths in (('is_weights', is_weights), ('lpips_weights', lpips_weights)):
    if len(paths) not in (0, 2):
      raise UserError(f'--{flag} takes two files ({len(paths)} given); see docs/evaluation.md')
  if feature_network and resize != 'published':
    raise UserError(f'--resize={resize} is of I3D, and --feature_network takes its place; omit one')
  fvd_file = (fvd_weights or '') if feature_network else i3d_file(fvd_weights)
  features = [fvd_file] if fvd_file else []
  given = {'features': features, 'c3d': is_weights, 'lpips': lpips_weights}
  found = {name: [weights.identify(f, trusted) for f in fs] for name, fs in given.items() if fs}

  def extractor(name: str, function: Callable):
    part = 'features' if name == 'i3d' else name
    return Extractor(function, _load(name, given[part], found[part]), devices)

  networks = {}
  if feature_network:
    networks['features'] = of_the_user(feature_network, fvd_file, found.get('features', ()))
  elif features:
    function = functools.partial(i3d_features, resize=resize)
    run = extractor('i3d', function)
    warnings = [*i3d_weights.warnings(fvd_file), *_RESIZE_WARNINGS.get(resize, ())]
    networks['features'] = FeatureNetwork(
      'i3d', run, found['features'], I3D_INPUTS[resize], warnings, i3d.MIN_FRAMES
    )
  if 'c3d' in found:
    networks['c3d'] = extractor('c3d', c3d_logits)
  if 'lpips' in found:
    networks['lpips'] = extractor('lpips', framewise_lpips)
  names = {'features': networks['features'].name} if 'features' in networks else {}
  return Networks(**networks, files={names.get(name, name): x for name, x in found.items()})


def load_network(name: str, files: Sequence[str], trusted: Collection[str] = ()) -> nnx.Module:
  """Loads 'i3d', 'c3d' or 'lpips' from its files, which must be known or trusted.

  Raises:
    UserError: a file is missing, unknown, damaged, or of another network.
  """
  return _load(name, files, [weights.identify(file, trusted) for file in files])


def _load(name: str, files: Sequence[str], provenances: Sequence[weights.Provenance]) -> nnx.Module:
  build, convert = _LOADERS[name]
  return converted.load(name, provenances, build, functools.partial(convert, *files))


def _convert_i3d(file: str) -> i3d.I3D:
  return i3d_weights.import_i3d(weights.read_tensors(file), file)


def _convert_c3d(file: str, mean_file: str) -> c3d.C3D:
  tensors, mean = weights.read_tensors(file), weights.read_tensors(mean_file)
  if 'mean' not in mean:
    raise UserError(f"{mean_file} lacks the array 'mean'; give TGANv2's mean2.npz")
  return c3d.import_c3d(tensors, mean['mean'], file)


def _convert_lpips(backbone: str, linear: str) -> lpips.LPIPS:
  tensors = weights.read_tensors(backbone), weights.read_tensors(linear)
  return lpips.import_lpips(*tensors, file=f'{backbone} and {linear}')


_LOADERS: dict[str, tuple[Callable, Callable]] = {
  'i3d': (lambda _: i3d.I3D(rngs=nnx.Rngs(0)), _convert_i3d),
  'c3d': (lambda _: c3d.C3D(rngs=nnx.Rngs(0)), _convert_c3d),
  'lpips': (lpips.build, _convert_lpips),
}
"""How each network is built from the names of its parameters, and converted from its files."""


def describe_files(networks: Networks) -> dict[str, list[dict]]:
  """Returns the networks' files as they are recorded in a result."""
  return {name: [dataclasses.asdict(f) for f in files] for name, files in networks.files.items()}


def i3d_features(network: i3d.I3D, clips: jax.Array, resize: str = 'published') -> jax.Array:
  """Returns I3D's logits float32 [N 400] of uint8 [N T H W 3], resized to its input size."""
  video = clips.astype(np.float32) / 255
  if resize == 'tf1':
    video = resize_without_centres(video, i3d.RESOLUTION, i3d.RESOLUTION)
  return network(2 * resize_and_crop(video, i3d.RESOLUTION) - 1)


def c3d_logits(network: c3d.C3D, clips: jax.Array) -> jax.Array:
  """Returns C3D's logits float32 [N 101] of uint8 [N 16 H W 3]."""
  return network(clips)


def framewise_lpips(network: lpips.LPIPS, clips: jax.Array, references: jax.Array) -> jax.Array:
  """Returns LPIPS float32 [N T] of the frames of two uint8 [N T H W 3]."""
  return image_quality.framewise(network, clips, references)
