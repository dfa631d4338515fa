"""Benchmarks; see README.md."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as a job does before it loads torch
