"""The compiled programs do no more work than they did, which no noise can hide.

tests/planning/recorded.json has figures of the demo's programs by compiler: jaxlib's version, and
for CPUs instruction set and cores. Those of this compiler are held within 5 %; where there are
none, they are printed. `python -m tests.planning.test_recorded` records this compiler's, with
a reason in the commit that does so.
"""

import json
import os
import re
import sys
from pathlib import Path

import jax
import jaxlib
import pytest

from configs import demo
from tests import conftest  # noqa: F401, whose XLA_FLAGS count when recording, too
from videogpt_jax.config import from_dict
from videogpt_jax.planning import compiler, cost, hlo
from videogpt_jax.planning.chips import parse_topology
from videogpt_jax.planning.collectives import collectives
from videogpt_jax.planning.programs import make_step
from videogpt_jax.training.sharding import MeshConfig, make_mesh

RECORDED = Path(__file__).with_name('recorded.json')

TOLERANCE = 0.05

SLICE = 'v5e:2x2'

PROGRAMS = {
  f'{name}, {where}': (name, where)
  for name, places in {
    'vqvae': ('cpu', SLICE),
    'prior': ('cpu', 'cpu 2x2x2', SLICE),
    'sample': ('cpu', SLICE),
  }.items()
  for where in places
}
"""Stage and devices of each program."""

MESHES = {'cpu': (1, 1, 1), 'cpu 2x2x2': (2, 2, 2), SLICE: (2, 2, 1)}


def the_compiler(where):
  """What a program's figures depend on beside the program."""
  if where == SLICE:
    return f'jaxlib {jaxlib.__version__}, libtpu'
  flags = re.search(r'^flags\s*: (.*)$', Path('/proc/cpuinfo').read_text(), re.M)
  known = [name for name in ('avx512f', 'avx2') if flags and name in flags[1].split()]
  return f'jaxlib {jaxlib.__version__}, {known[0] if known else "other"}, {os.cpu_count()} cores'


def figures(name, where):
  """Operations, bytes, fusions, copies and exchanged bytes of a step; for a TPU its memory."""
  config = from_dict(demo.get_config())
  sizes, topology = MeshConfig(*MESHES[where]), parse_topology(SLICE)
  devices = compiler.devices(topology) if where == SLICE else jax.devices('cpu')
  mesh = make_mesh(sizes, devices[: sizes.data * sizes.fsdp * sizes.tensor])
  step, peak = make_step(name, config, mesh), {}
  if where == SLICE:
    compiled = compiler.compile_step(step, topology)
    text, peak = compiled.text, {'peak bytes': compiled.peak}
  else:
    text = step.lower().compile().as_text()
  program = hlo.parse(text, dynamic_trips=1)
  runs = lambda opcode: sum(i.runs for i in program if i.instruction.opcode == opcode)
  return {
    'operations': cost.flops(program),
    'bytes': cost.hbm_bytes(program),
    'fusions': runs('fusion'),
    'copies': runs('copy') + runs('copy-start'),
    'exchanged bytes': sum(c.payload * c.runs for c in collectives(program, mesh.shape)),
    **peak,
  }


@pytest.mark.slow
@pytest.mark.parametrize('program', PROGRAMS)
def test_a_program_does_no_more_than_recorded(program):
  name, where = PROGRAMS[program]
  if where == SLICE and compiler.missing():
    pytest.skip(compiler.MISSING)
  found = figures(name, where)
  recorded = json.loads(RECORDED.read_text()).get(the_compiler(where), {}).get(program)
  if recorded is None:
    pytest.skip(f'nothing is recorded for {the_compiler(where)}; {program}: {found}')
  assert found == pytest.approx(recorded, rel=TOLERANCE)


def record():
  """Records the figures of this compiler."""
  recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
  for program, (name, where) in PROGRAMS.items():
    recorded.setdefault(the_compiler(where), {})[program] = figures(name, where)
    print(program, recorded[the_compiler(where)][program], file=sys.stderr)
  RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + '\n')


if __name__ == '__main__':
  record()
