"""A small simulated phone with known truth: it stands in for AndroidEnv's *Open App*."""
