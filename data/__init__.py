"""What is known about each data set, and its preparation to shards (see docs/data.md)."""
