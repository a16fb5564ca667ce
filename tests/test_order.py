"""The order in which two workers take the files of tests."""

import subprocess
import sys
from pathlib import Path

CONFTEST = Path('tests/conftest.py')

FILES = {
  'test_many.py': 'import pytest\n@pytest.mark.parametrize("n", range(4))\ndef test(n): pass\n',
  'test_none_left.py': ''.join(
    f'import pytest\n@pytest.mark.slow\ndef test_{n}(): pass\n' for n in range(9)
  ),
  'test_one.py': 'def test(): pass\n',
  'test_patient.py': 'import pytest\n\n@pytest.mark.timeout(999)\ndef test(): pass\n',
}


def test_what_may_take_longest_begins_first_and_then_what_has_most_tests(tmp_path):
  (tmp_path / 'conftest.py').write_text(CONFTEST.read_text())
  (tmp_path / 'pytest.ini').write_text('[pytest]\ntimeout = 9\nmarkers = slow: so\n')
  for name, text in FILES.items():
    (tmp_path / name).write_text(text)
  pytest = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '-m', 'not slow']
  done = subprocess.run(
    [*pytest, '--collect-only', '-q'], cwd=tmp_path, check=True, capture_output=True, text=True
  )
  found = [line.split('::')[0] for line in done.stdout.splitlines() if '::' in line]
  assert list(dict.fromkeys(found)) == ['test_patient.py', 'test_many.py', 'test_one.py']
  assert found == sorted(found, key=['test_patient.py', 'test_many.py', 'test_one.py'].index)
