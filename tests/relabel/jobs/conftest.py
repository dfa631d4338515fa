"""Jobs are tested with Beam and without it, on the same small sources."""

from tests.pipelines.conftest import (
    bridge,
    counted,
    embedding,
    goals,
    job,
    scoring,
    source,
    store,
    tiny_model,
    workers_import_tests,
)

__all__ = [
    "bridge",
    "counted",
    "embedding",
    "goals",
    "job",
    "scoring",
    "source",
    "store",
    "tiny_model",
    "workers_import_tests",
]
