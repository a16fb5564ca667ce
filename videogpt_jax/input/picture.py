"""Decoded frames as a viewer sees them: upright, with square pixels, in RGB.

Where a frame is made smaller, only the pixels that its new pixels are made of are fetched and
converted: the cost of a frame grows with what is asked for, not with the frame.

Letters: h w stored height and width; H W those of the result.
"""

import dataclasses
import fractions
import itertools

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from videogpt_jax.framing import Framing, Resampling, colour, resampling
from videogpt_jax.input.selection import Selection, Whole, has_blocks, pick, select, values

_MATRICES = {
  1: (Colorspace.ITU709, 'bt709'),
  4: (Colorspace.FCC, 'fcc'),
  7: (Colorspace.SMPTE240M, 'smpte240m'),
  9: (Colorspace.BT2020, 'bt2020'),
  10: (Colorspace.BT2020, 'bt2020'),
}
_USUAL_MATRIX = Colorspace.ITU601, 'bt601'
"""Matrix of each AVColorSpace, for the reformatter and for filters. Everything else, untagged video
included, is BT.601 to FFmpeg."""


_TICK = fractions.Fraction(1, 25)  # of a filter's clock, which nothing here reads


@dataclasses.dataclass(frozen=True)
class Turn:
  """One of the eight ways to hold a frame: transposed first, then mirrored.

  Attributes:
    transposed: whether rows become columns.
    upside_down, mirrored: whether the order of the rows, and of the columns, is reversed.
  """

  transposed: bool = False
  upside_down: bool = False
  mirrored: bool = False

  @property
  def lying(self) -> tuple[bool, bool]:
    """Whether the order of the stored rows, and of the stored columns, is reversed."""
    sides = (self.upside_down, self.mirrored)
    return sides[::-1] if self.transposed else sides

  @property
  def filters(self) -> tuple[tuple[str, str | None], ...]:
    """FFmpeg's filters that turn a frame, with their arguments."""
    there = (self.transposed, self.mirrored, self.upside_down)
    filters = (('transpose', 'cclock_flip'), ('hflip', None), ('vflip', None))
    return tuple(itertools.compress(filters, there))

  @classmethod
  def of(cls, frame: av.VideoFrame) -> 'Turn':
    """Returns how a frame's display matrix holds it, to the nearest quarter turn."""
    matrix = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None:
      return cls()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()  # x' = ax + cy, y' = bx + dy
    if abs(b) + abs(c) > abs(a) + abs(d):
      return cls(True, b < 0, c < 0)
    return cls(False, d < 0, a < 0)


def shown_size(frame: av.VideoFrame, aspect: fractions.Fraction) -> tuple[int, int]:
  """Returns (height, width) at which a frame is shown.

  Args:
    frame: as decoded.
    aspect: width of a stored pixel by its height.
  """
  size = (frame.height, max(1, int(frame.width * aspect)))
  return size[::-1] if Turn.of(frame).transposed else size


@dataclasses.dataclass
class Pictures:
  """Turns the decoded frames of one stream into pictures.

  Attributes:
    aspect: width of a stored pixel by its height.
    framing: size of the pictures, and how frames come to it; None leaves them as they are shown.
    background: colour behind transparent pixels.
  """

  aspect: fractions.Fraction = fractions.Fraction(1)
  framing: Framing | None = None

  def __post_init__(self):
    self._reformatter, self._scaler = VideoReformatter(), _Scaler()
    self._key = self._way = None
    self._background = np.float32(colour(self.framing.background if self.framing else 'white'))

  def __call__(self, frame: av.VideoFrame) -> np.ndarray:
    """Returns [H W 3] in [0, 255]: uint8 where the frame is shown at that size, else float32."""
    # A frame whose side data was looked at lives until Python looks for cycles: only the first is.
    key = (frame.width, frame.height, frame.rotation)
    if self._key != key:
      self._key, self._way = key, self._find_way(frame)
    way = self._way
    small = way.selection.take(frame)
    size = way.size or (small.height, small.width)
    pixels = self._convert(small, frame, size, way.turns)
    pixels = pick(pixels, way.selection.rows, way.selection.columns)
    pixels = np.ascontiguousarray(pixels.swapaxes(0, 1) if way.transposed else pixels)
    pixels = pixels.view(np.uint8).reshape(*pixels.shape, -1)
    if _transparent(frame):
      alpha = pixels[..., 3:] / np.float32(255)
      mixed = pixels[..., :3] * alpha + self._background * (1 - alpha)
      pixels = np.rint(mixed).astype(np.uint8)
    return (way.resampling(pixels) if way.resampling else pixels)[..., :3]

  def _find_way(self, frame) -> '_Way':
    """Returns what becomes of frames like this one."""
    turn = Turn.of(frame)
    stored, shown = shown_size(frame, fractions.Fraction(1)), shown_size(frame, self.aspect)
    if self.framing is None or self.framing.size == shown:
      if stored != shown or not has_blocks(frame):
        return _Way(Whole(slice(None), slice(None)), shown, False, None, turn.filters)
      sides = [slice(None, None, -1 if turned else 1) for turned in turn.lying]
      size = shown[::-1] if turn.transposed else shown
      return _Way(Whole(*sides), size, turn.transposed, None)
    plan = resampling(stored, self.framing, shown)
    rows, columns = (plan.columns, plan.rows) if turn.transposed else (plan.rows, plan.columns)
    upside_down, mirrored = turn.lying
    rows = frame.height - 1 - rows if upside_down else rows
    columns = frame.width - 1 - columns if mirrored else columns
    return _Way(select(frame, rows, columns), None, turn.transposed, plan)

  def _convert(self, frame, tagged, size, turns):
    """Returns the frame's colours at a size, [h w] of 3 or 4 bytes: red, green, blue, maybe alpha.

    Takes the matrix and range that `tagged` is tagged with.
    """
    full = tagged.color_range == ColorRange.JPEG or tagged.format.name.startswith('yuvj')
    matrix, matrix_name = _MATRICES.get(tagged.colorspace, _USUAL_MATRIX)
    unscaled = size == (frame.height, frame.width) and has_blocks(frame) and not turns
    # Four bytes are quicker to pick, but FFmpeg then leaves out the last columns of some widths.
    quick = unscaled and size[1] % 8 == 0
    form = 'rgba' if quick or _transparent(frame) else 'rgb24'
    if unscaled:
      converted = self._reformatter.reformat(
        frame,
        format=form,
        src_colorspace=matrix,
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        threads=1,  # clips are decoded in parallel already
      )
    else:  # filters know where colours lie that pixels share
      meant = '' if frame.format.is_rgb else f'{matrix_name}:{"full" if full else "limited"}'
      converted = self._scaler(frame, turns, size, form, meant)
    return values(converted.planes[0], '<u4' if form == 'rgba' else 'V3')


@dataclasses.dataclass(frozen=True)
class _Way:
  """From frames of one size to pictures.

  Attributes:
    selection: the pixels to take.
    size: (h, w) to convert to; None is that of the selection.
    transposed: whether rows become columns after that.
    resampling: what follows, if anything.
    turns: filters that turn frames before they are converted.
  """

  selection: Selection
  size: tuple[int, int] | None
  transposed: bool
  resampling: Resampling | None
  turns: tuple[tuple[str, str | None], ...] = ()


class _Scaler:
  """FFmpeg's filters that turn and scale, set up anew where frames change."""

  def __init__(self):
    self._graph = self._key = None

  def __call__(self, frame, turns, size, form, meant) -> av.VideoFrame:
    """Returns the frame turned, at a size (h, w), in a format.

    `meant` is its matrix and range, if any.
    """
    key = (frame.height, frame.width, frame.format.name, turns, size, form, meant)
    if self._key != key:
      self._graph, self._key = self._set_up(frame, turns, size, form, meant), key
    frame.pts, frame.time_base = None, _TICK
    self._graph.push(frame)
    return self._graph.pull()

  def _set_up(self, frame, turns, size, form, meant):
    graph = av.filter.Graph()
    graph.threads = 1
    scale = f'{size[1]}:{size[0]}'
    if meant:
      matrix, levels = meant.split(':')
      scale += f':in_color_matrix={matrix}:in_range={levels}'
    nodes = (
      graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=_TICK
      ),
      *(graph.add(name, arguments) for name, arguments in turns),
      graph.add('scale', scale),
      graph.add('format', form),
      graph.add('buffersink'),
    )
    graph.link_nodes(*nodes).configure()
    return graph


def _transparent(frame):
  return frame.format.name == 'pal8' or any(c.is_alpha for c in frame.format.components)
