"""Every benchmark, as a table: `make bench`."""

import itertools

from videogpt_jax import cli


def main(argv):
  del argv
  from benchmarks import attention, input, sampling  # after cli has quietened TensorFlow

  print(f'{"measurement":60s} {"value":>10s}  unit')
  for name, value, unit in itertools.chain(input.rows(), attention.rows(), sampling.rows()):
    print(f'{name:60s} {value:10.2f}  {unit}', flush=True)


if __name__ == '__main__':
  cli.start(main)
