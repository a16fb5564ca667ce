"""The card of an exported model: README.md, as the Hugging Face hub shows it."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.videogpt import VideoGPT
from videogpt_jax.world import plays

Row = Sequence[str]

_FEW = 20  # classes that are named

_CARRIED = 'Data', 'Training', 'Scores'
"""Sections that an export of an export takes over."""


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a card tells beside what the model itself says.

  Attributes:
    name: of the model.
    licence: of the weights, by its identifier on the hub: 'apache-2.0'.
    dtype: of the stored weights.
    version: of the code that wrote the folder.
    data: text about the data; '' if it is unknown.
    training: rows of stage, steps, clips a step, devices, time.
    in_use: lines that say which checkpoints these are.
    scores: rows of score, value, 95 % interval, meaning.
    notes: sentences about the scores.
    starts: number of held-out clips in the folder.
    picture: file of generated videos in the folder, or ''.
    carried: sections, by heading, of the card that the model came with; see `carried`.
  """

  name: str
  licence: str
  dtype: str
  version: str
  data: str = ''
  training: Sequence[Row] = ()
  in_use: Sequence[str] = ()
  scores: Sequence[Row] = ()
  notes: Sequence[str] = ()
  starts: int = 0
  picture: str = ''
  carried: Mapping[str, str] = dataclasses.field(default_factory=dict)


def card(model: VideoGPT | Tokenizer, facts: Facts) -> str:
  """Returns the text of a model's README.md."""
  sections = {
    'Use': _use(model, facts),
    'Data': facts.data
    or 'Unknown: the model was exported from a file that does not state its data.',
    'Training': _training(facts),
    'Scores': _scores(facts),
    **_carried(facts),
    'Licence': f'Weights: {facts.licence}. The data have licences of their own, see above.',
    'Limits': _limits(model, facts),
  }
  parts = [_front(facts), f'# {_line(facts.name)}', _about(model, facts)]
  if facts.picture:
    parts.append(f'![Generated videos]({facts.picture})')
  parts += [f'## {title}\n\n{text}' for title, text in sections.items()]
  return '\n\n'.join(parts) + '\n'


def carried(text: str) -> tuple[str, dict[str, str]]:
  """Returns what an export of an export takes over from a model's README.md.

  Returns:
    the licence, '' if the card states none; the sections about data, training and scores, by
    heading, as far as there are any.
  """
  licence = re.search(r'^license: (.+)$', text.partition('\n---\n')[0], re.MULTILINE)
  headings = '|'.join(('Use', *_CARRIED, 'Licence', 'Limits'))
  parts = re.split(rf'^## ({headings})$', text, flags=re.MULTILINE)
  sections = {name: part.strip() for name, part in zip(parts[1::2], parts[2::2], strict=True)}
  return licence[1].strip() if licence else '', {
    name: sections[name] for name in _CARRIED if name in sections
  }


def _carried(facts: Facts) -> dict[str, str]:
  sections = dict(facts.carried)
  if facts.data:
    sections.pop('Data', None)
  if 'Scores' in sections and facts.dtype != 'float32' and facts.dtype not in sections['Scores']:
    sections['Scores'] += f'\n\n{_rounded(facts)}'
  return sections


def table(rows: Sequence[Row], heads: Row) -> str:
  """Returns a table in Markdown."""
  lines = [heads, ['---'] * len(heads), *rows]
  return '\n'.join(f'| {" | ".join(_line(cell) for cell in line)} |' for line in lines)


def _line(text: str) -> str:
  """A text from a file, which must not end its line or its cell."""
  return ' '.join(str(text).replace('|', '/').split())


def _front(facts: Facts) -> str:
  """The properties that the hub reads."""
  tags = ''.join(f'\n- {tag}' for tag in ('video-generation', 'videogpt', 'vq-vae', 'jax'))
  licence = _line(facts.licence)
  return f'---\nlicense: {licence}\nlibrary_name: videogpt_jax\ntags:{tags}\n---'


def _about(model: VideoGPT | Tokenizer, facts: Facts) -> str:
  tokenizer = model.vqvae if isinstance(model, VideoGPT) else model
  spec = tokenizer.spec
  height, width = spec.frame_size
  grid = 'x'.join(map(str, spec.latent_shape))
  rate = model.cut.frame_rate if isinstance(model, VideoGPT) else 0
  at = f' at {rate:g} frames a second' if rate else ''
  said = [
    f'A video model of [videogpt_jax](https://arxiv.org/abs/2104.10157): clips of '
    f'{spec.sequence_length} frames of {height}x{width}{at}.',
    f'{_of_tokenizer(tokenizer.config)} turns a clip into {grid} codes, each one of '
    f'{spec.n_codes}, and back.',
  ]
  if isinstance(model, VideoGPT):
    said.append(f'{_of_prior(model.config)} models the codes, {_conditions(model)}.')
  else:
    said.append('There is no prior yet, so that it encodes and decodes, and generates nothing.')
  said.append(f'Weights are stored as {facts.dtype}. Written by videogpt_jax {facts.version}.')
  return ' '.join(said)


def _of_tokenizer(config: VQVAEConfig) -> str:
  kind = 'VQ-VAE' if config.quantizer == 'ema' else f'tokenizer ({config.quantizer})'
  return f'A 3-D {kind}'


def _of_prior(config: PriorConfig) -> str:
  return f'A transformer of {config.n_layers} layers of {config.hidden_dim} units'


def _conditions(model: VideoGPT) -> str:
  config, told = model.config, []
  if config.n_classes:
    names = ', '.join(_line(name) for name in model.classes[:_FEW])
    more = ' and so on' if config.n_classes > _FEW else ''
    told.append(f'a class ({config.n_classes}: {names}{more})')
  if config.n_cond_frames:
    told.append(f'{config.n_cond_frames} first frame{"s" if config.n_cond_frames > 1 else ""}')
  if config.action_dim:
    told.append(f'actions of {config.action_dim} numbers a frame')
  if config.vector_dim:
    told.append(f'a vector of {config.vector_dim} numbers')
  return f'conditioned on {" and ".join(told)}' if told else 'without conditions'


def _use(model: VideoGPT | Tokenizer, facts: Facts) -> str:
  if not isinstance(model, VideoGPT):
    call = ["tokenizer = videogpt_jax.load_vqvae('THIS FOLDER')", 'codes = tokenizer.encode(video)']
  else:
    call, arguments = ["model = videogpt_jax.load_videogpt('THIS FOLDER')"], ''
    if facts.starts:
      call.append("starts = videogpt_jax.load_starts('THIS FOLDER')")
      arguments = ', conditions=starts.conditions(8, model.config)'
    elif model.config.n_classes:
      arguments = ', class_label=0'
    call += [
      '# float32 [8 T H W 3] in [0, 1]',
      f'video = model.sample(8, seed=0{arguments})',
    ]
  lines = ['```python', 'import videogpt_jax', '', *call, '```']
  if isinstance(model, VideoGPT):
    lines += ['', '    videogpt sample --model="THIS FOLDER" --num=8 --out=videos']
    lines += ['    videogpt play --model="THIS FOLDER"'] * plays(model.generator)
  lines += ['', 'Instead of the folder, an address on the hub works too: `hf://OWNER/NAME`.']
  if facts.starts:
    lines[-1] += f' The folder brings {facts.starts} held-out clips'
    needed = {'frames': model.config.n_cond_frames, 'actions': model.config.action_dim}
    taken = ' and '.join(name for name, size in needed.items() if size)
    lines[-1] += f', whose {taken} `sample` takes where none are given.' if taken else '.'
  return '\n'.join(lines)


def _training(facts: Facts) -> str:
  if not facts.training:
    return 'Not recorded in what the model was exported from.'
  text = table(facts.training, ('stage', 'steps', 'clips a step', 'devices', 'time'))
  lines = [text, *(f'- {_line(line)}' for line in facts.in_use)]
  return '\n\n'.join([lines[0], '\n'.join(lines[1:])]) if facts.in_use else text


def _scores(facts: Facts) -> str:
  if not facts.scores:
    return 'None were measured, or none are recorded in what the model was exported from.'
  text = table(facts.scores, ('score', 'value', '95 % interval', 'meaning'))
  notes = list(facts.notes)
  if facts.dtype != 'float32':
    notes.append(_rounded(facts))
  return '\n\n'.join([text, ' '.join(notes)]) if notes else text


def _rounded(facts: Facts) -> str:
  return f'The scores are those of the float32 weights; these are rounded to {facts.dtype}.'


def _limits(model: VideoGPT | Tokenizer, facts: Facts) -> str:
  return '\n'.join(f'- {line}' for line in _each_limit(model, facts))


def _each_limit(model: VideoGPT | Tokenizer, facts: Facts) -> Iterator[str]:
  yield 'It knows videos like its training data, and no others.'
  yield 'Decoded frames are softer than the originals: what the codes do not keep is lost.'
  if isinstance(model, VideoGPT):
    length, window = model.vqvae.spec.sequence_length, model.config.attn_window
    yield (
      f'It can be played without an end, and each layer looks back {window} latent frames.'
      if window
      else f'A clip has {length} frames. Longer videos are made clip after clip, and what the last '
      'clip no longer shows is forgotten.'
    )
    yield 'It was trained to imitate its data, and may repeat training clips and their biases.'
  if not (facts.scores or 'Scores' in facts.carried):
    yield 'Its quality has not been measured.'
  else:
    yield 'Nothing beyond the scores above has been measured.'
