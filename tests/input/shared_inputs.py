"""Where the files as people have them lie: ../shared/inputs, whose README says what each holds."""

import pathlib

import pytest

INPUTS = pathlib.Path(__file__).parents[2] / '../shared/inputs'
needs_inputs = pytest.mark.skipif(not INPUTS.exists(), reason=f'{INPUTS} is not here')
