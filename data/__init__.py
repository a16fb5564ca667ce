"""Cards of the data sets, and their preparation to shards (see docs/data.md)."""
