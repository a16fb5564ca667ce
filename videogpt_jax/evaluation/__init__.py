"""Scores of clips and codes; docs/evaluation.md says which, and by what protocols."""
