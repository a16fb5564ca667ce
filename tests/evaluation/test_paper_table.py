from videogpt_jax.evaluation import paper_table

_PAPER = {
  '2': {'bits_per_code': 2.84, 'fvd': (120.4, 6.0)},
  '4': {'bits_per_code': 2.52, 'fvd': (110.0, 2.4)},
  '8': {'bits_per_code': 2.39, 'fvd': (103.3, 2.2)},
}
_HERE = {
  '2': {'prior_bits_per_code': 1.25, 'reconstruction_psnr': 20.0},
  '8': {'prior_bits_per_code': 1.5, 'reconstruction_psnr': 20.0},
  '4': {'prior_bits_per_code': 1.0, 'reconstruction_psnr': 20.0},
}


def test_the_papers_figures_stand_beside_ours():
  lines = paper_table.table(_PAPER, _HERE).splitlines()
  assert lines[0] == (
    '| row | bits_per_code, paper | bits_per_code, here | fvd, paper | fvd, here '
    '| reconstruction_psnr |'
  )
  assert lines[2] == '| 2 | 2.84 | 1.25 | 120.4 ± 6 |  | 20 |'
  assert [line.split()[1] for line in lines[2:5]] == ['2', '4', '8']  # in the paper's order


def test_trends_are_counted_by_pairs_of_rows():
  *_, bits, fvd = paper_table.table(_PAPER, _HERE).splitlines()
  # The paper's bits fall from row to row; ours only from 2 to 4.
  assert bits == 'bits_per_code: 1 of 3 pairs of rows compare as in the paper'
  assert fvd == 'fvd: not measured'


def test_rows_that_were_not_run_are_left_out():
  text = paper_table.table(_PAPER, {'4': {'fvd': 90.5, 'fvd_std': 1.25}})
  assert '| 4 | 2.52 |  | 110 ± 2.4 | 90.5 ± 1.2 |' in text
  assert '| 8 |' not in text


def test_equal_scores_are_no_trend():
  same = {row: {'prior_bits_per_code': 1.0} for row in _PAPER}
  assert 'bits_per_code: 0 of 3' in paper_table.table(_PAPER, same)


def test_rows_whose_intervals_overlap_cannot_be_told_apart():
  paper = {'2': {'fvd': 120.0}, '4': {'fvd': 110.0}, '8': {'fvd': 103.0}}
  row = lambda low, high: {'fvd': (low + high) / 2, 'fvd_low': low, 'fvd_high': high}
  measured = {'2': row(20, 30), '4': row(18, 22), '8': row(5, 10)}
  text = paper_table.table(paper, measured)
  assert '3 of 3 pairs of rows compare as in the paper; 2 and 4 cannot be told apart' in text
