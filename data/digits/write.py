"""Writes digits.npz beside this file from scikit-learn's copy: `python data/digits/write.py`."""

import pathlib

import numpy as np
from sklearn.datasets import load_digits


def main():
  digits = load_digits()
  np.savez_compressed(
    pathlib.Path(__file__).with_name('digits.npz'),
    images=digits.images.astype(np.uint8),
    labels=digits.target.astype(np.uint8),
  )


if __name__ == '__main__':
  main()
