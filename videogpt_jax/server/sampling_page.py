"""The page on which videos are generated, on Gradio: a control for each thing that the model has.

Nothing on it comes from elsewhere, and nothing is told elsewhere.
"""

import html
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
from starlette.applications import Starlette

from videogpt_jax import media
from videogpt_jax.errors import UserError
from videogpt_jax.sampling.settings import SampleConfig
from videogpt_jax.server import uploads
from videogpt_jax.server.sampler import FILE, IN_TURN, MOST_VIDEOS, UPLOAD, Form, Made, Sampler

MOST_REQUESTS = 8
"""Requests at a time."""

_KEPT = (600, 3600)  # seconds: how often files are looked at, and how old they become

_CSS = """
#videos video { width: 100%; image-rendering: pixelated }
#status { min-height: 2.5em }
#status progress { accent-color: var(--primary-500) }
#status .fault { color: var(--error-text-color) }
footer { display: none !important }
"""

Controls = dict[str, gr.components.Component]
"""By the names of `Form`'s fields."""


def make_page(sampler: Sampler, title: str, plays: bool) -> gr.Blocks:
  """Returns the page.

  Args:
    sampler: makes the videos.
    title: what the model is called.
    plays: whether the model can be played at play/.
  """
  with gr.Blocks(title=title, analytics_enabled=False, delete_cache=_KEPT) as page:
    gr.Markdown(f'# Generate videos\n\n{_described(sampler, title, plays)}')
    with gr.Row():
      with gr.Column(min_width=300):
        controls = _content(sampler) | _amount(sampler) | _drawing(sampler)
        with gr.Row():
          generate = gr.Button('Generate', variant='primary', min_width=120, elem_id='generate')
          stop = gr.Button('Stop', min_width=120, elem_id='stop')
      with gr.Column(min_width=300):
        status = gr.HTML(_said('Nothing generated yet'), elem_id='status')
        shown = gr.Video(
          label='Videos',
          show_label=False,
          autoplay=True,
          loop=True,
          interactive=False,
          elem_id='videos',
        )
        files = gr.File(
          label='Each video as a file',
          interactive=False,
          height=240,
          visible=False,
          elem_id='files',
        )
    _connect(sampler, controls, (generate, stop), (status, shown, files))
  page.queue(max_size=MOST_REQUESTS, api_open=False)
  return page


def mount(page: gr.Blocks, app: Starlette):
  """Serves the page at an application's root, below what else it serves."""
  gr.mount_gradio_app(
    app,
    page,
    '/',
    footer_links=[],
    run_history=False,
    ssr_mode=False,
    mcp_server=False,
    pwa=False,
    enable_monitoring=False,
    max_file_size=uploads.MOST_BYTES,
    theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
    css=_CSS,
  )


def _described(sampler: Sampler, title: str, plays: bool) -> str:
  model = sampler.model
  height, width = model.vqvae.spec.frame_size
  told = f'{html.escape(title)}: clips of {sampler.clip} frames of {width}x{height}'
  return told + ('. [Play it](play/), action by action.' if plays else '.')


def _content(sampler: Sampler) -> Controls:
  """Makes the controls of what videos show."""
  controls: Controls = {}
  if sampler.model.classes:
    controls['class_label'] = gr.Dropdown(
      [IN_TURN, *sampler.model.classes], label='Class', elem_id='class_label'
    )
  if len(sampler.beginnings) > 1:
    controls['begin'] = gr.Dropdown(sampler.beginnings, label='Begin with', elem_id='begin')
  if UPLOAD in sampler.beginnings:
    chosen = sampler.beginnings[0] == UPLOAD
    with gr.Group(visible=chosen) as group:
      controls['upload'] = gr.File(
        label='Video or photo',
        file_types=['video', 'image', '.npy'],
        height=120,
        elem_id='upload',
      )
      if sampler.continues:
        controls['from_end'] = gr.Checkbox(label='Go on from its end, not from its beginning')
    _show_where(controls.get('begin'), UPLOAD, group)
  if sampler.actions:
    controls['action'] = gr.Dropdown(sampler.actions, label='Actions', elem_id='action')
    controls['actions_file'] = gr.File(
      label=f'Actions: NumPy, float [frames, {sampler.model.config.action_dim}]',
      file_types=['.npy'],
      height=120,
      visible=sampler.actions[0] == FILE,
      elem_id='actions_file',
    )
    _show_where(controls['action'], FILE, controls['actions_file'])
  return controls


def _show_where(choice: gr.Dropdown | None, value: str, part: Any):
  """Shows a part of the page where a value is chosen."""
  if choice is not None:
    show = f'(chosen) => ({{visible: chosen === {value!r}, __type__: "update"}})'
    choice.change(None, choice, part, js=show)


def _amount(sampler: Sampler) -> Controls:
  """Makes the controls of how many videos, and of their length."""
  controls: Controls = {}
  with gr.Row():
    controls['n'] = gr.Slider(1, MOST_VIDEOS, 4, step=1, label='Videos', elem_id='n')
    controls['num_frames'] = gr.Slider(
      1, sampler.most_frames, sampler.clip, step=1, label='Frames', elem_id='num_frames'
    )
  controls['seed'] = gr.Number(
    0, precision=0, label='Seed', info='The same seed, the same videos', elem_id='seed'
  )
  return controls


def _drawing(sampler: Sampler) -> Controls:
  """Makes the controls of how codes are drawn."""
  controls: Controls = {}
  K = sampler.model.vqvae.spec.n_codes
  with gr.Accordion('How codes are drawn', open=False):
    controls['temperature'] = gr.Slider(
      0, 2, 1, step=0.05, label='Temperature', info='0 takes the most likely code'
    )
    controls['top_k'] = gr.Number(
      0, precision=0, label='Top-k', info=f'0 keeps all {K} codes', elem_id='top_k'
    )
    controls['top_p'] = gr.Slider(0.01, 1, 1, step=0.01, label='Top-p', info='1 keeps all codes')
    if sampler.guides:
      controls['guidance'] = gr.Slider(0, 10, 1, step=0.1, label='Guidance', info='1 is none')
  return controls


def _connect(sampler: Sampler, controls: Controls, buttons, outputs):
  """Lets the first button fill the outputs from the controls, and the second one stop that."""
  generate, stop = buttons
  status, shown, files = outputs

  def run(values: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
    form = Form(**{name: values[control] for name, control in controls.items()})
    yield {status: _said('beginning', going_on=True)}
    try:
      for made in sampler.run(form):
        if isinstance(made, Made):
          with tempfile.TemporaryDirectory() as folder:
            grid, *each = _write(made, sampler, form.seed, pathlib.Path(folder))
            yield {status: _said(_summary(made)), shown: grid, files: gr.File(each, visible=True)}
        else:
          yield {status: _said(made, going_on=True)}
    except UserError as error:
      yield {status: _said(str(error), fault=True)}

  event = generate.click(
    run,
    set(controls.values()),
    list(outputs),
    concurrency_limit=MOST_REQUESTS,  # who waits is told so; the sampler draws for one at a time
    show_progress='hidden',
    api_visibility='private',
  )
  stopped = stop.click(None, cancels=[event], show_progress='hidden', api_visibility='private')
  stopped.then(  # and not beside it: what was under way would be shown after it
    lambda: _said('Stopped'),
    outputs=status,
    show_progress='hidden',
    api_visibility='private',
  )


def _said(text: str, going_on: bool = False, fault: bool = False) -> str:
  """Returns the line that says how far it is, as HTML."""
  bar = '<progress aria-label="Generating"></progress> ' if going_on else ''
  kind = ' class="fault"' if fault else ''
  return f'<p role="status"{kind}>{bar}{html.escape(text)}</p>'


def _summary(made: Made) -> str:
  n, T, H, W, _ = made.videos.shape
  return f'{n} video{"s" * (n > 1)} of {T} frames of {W}x{H}, in {made.seconds:.1f} s'


def _write(made: Made, sampler: Sampler, seed: int, folder: pathlib.Path) -> list[str]:
  """Writes all videos in a grid, then each: paths of mp4 files."""
  fps = SampleConfig().frame_rate(sampler.model.cut.frame_rate)
  sheet = media.enlarge(made.videos)
  sheet = media.grid(sheet, made.labels) if len(sheet) > 1 or made.labels else sheet[0]
  named = [('videos', sheet), *((f'{seed}-{i}', x) for i, x in enumerate(made.videos))]
  for name, video in named:
    (folder / f'{name}.mp4').write_bytes(media.mp4(video, fps))
  return [str(folder / f'{name}.mp4') for name, _ in named]
