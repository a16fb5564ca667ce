"""Runs all benchmarks and prints a table: `make bench`."""

import itertools

from videogpt_jax import cli


def main(argv):
  del argv
  from benchmarks import attention, input, sampling, videos  # after cli has silenced TensorFlow

  print(f'{"measurement":60s} {"value":>10s}  unit')
  for name, value, unit in itertools.chain(
    *(part.rows() for part in (input, videos, attention, sampling))
  ):
    print(f'{name:60s} {value:10.2f}  {unit}', flush=True)


if __name__ == '__main__':
  cli.start(main)
