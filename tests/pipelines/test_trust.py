"""`--trust`: sizes of stored files only, in the command and in its workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offline_rl import training
from offline_rl.run_config import TrainConfig, load_config
from pipelines import jobs
from relabel.jobs.options import GoalDatasetOptions, JobOptions, RunOptions
from schemas import seals
from schemas.enums import Split
from schemas.errors import StoreError
from schemas.store import Store
from tests import small
from tests.pipelines.job_options import Embedding, Scoring

Command = Callable[[JobOptions], Any]


@pytest.fixture
def made(job: JobOptions, embedding: Embedding, scoring: Scoring) -> JobOptions:
    """Of a store with rewards and a dataset."""
    jobs.relabel(job, embedding(), scoring())
    jobs.build_goals(job, GoalDatasetOptions("gc"))
    return job


@pytest.fixture
def hashed(made: JobOptions, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed from now on."""
    monkeypatch.setattr(seals, "_WHOLE", set())
    return small.hashed(monkeypatch)


def config(job: JobOptions) -> TrainConfig:
    return TrainConfig(
        store=job.store, dataset="gc", algo="bc", observations=(), steps=1, trust=job.trust
    )


@pytest.fixture(params=["score", "build-goals", "train"])
def command(request: pytest.FixtureRequest, scoring: Scoring) -> Command:
    def score(job: JobOptions) -> Any:
        return jobs.score(job, scoring(name="v2"))

    def build(job: JobOptions) -> Any:
        return jobs.build_goals(job, GoalDatasetOptions("gc2"))

    def train(job: JobOptions) -> Any:
        return training.open_dataset(config(job)).rows(Split.TRAIN).num_rows

    chosen: dict[str, Command] = {"score": score, "build-goals": build, "train": train}
    return chosen[str(request.param)]


def test_nothing_is_hashed_on_trust(made: JobOptions, hashed: list[str], command: Command) -> None:
    command(replace(made, trust=True))
    assert hashed == []
    Store.open(made.store).folder.delete_folder("rewards/v2")
    Store.open(made.store).folder.delete_folder("goal_datasets/gc2")
    command(made)
    assert hashed
    assert len(hashed) == len(set(hashed))  # once


@pytest.mark.usefixtures("workers_import_tests")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_flipped_embedding_is_scored_on_trust_alone(
    made: JobOptions, scoring: Scoring, hashed: list[str], workers: int
) -> None:
    made = replace(made, run=RunOptions(workers=workers))
    store = Store.open(made.store)
    piece = store.slices[1]
    table = store.embeddings()[0].table
    path = Path(made.store, table, piece.file)
    row = store.read_slices(table, [piece]).column("embedding")[-1].values.to_numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(row)] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="its CRC-32C is not the one recorded"):
        jobs.score(made, scoring(name="v2"))
    assert jobs.score(replace(made, trust=True), scoring(name="v2")).tables[0].complete
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"expected \d+ bytes, got \d+"):
        jobs.score(replace(made, trust=True), scoring(name="v3"))


def test_trust_is_no_part_of_a_run(made: JobOptions, tmp_path: Path) -> None:
    trusting = config(replace(made, trust=True))
    assert trusting.trust
    assert "trust" not in trusting.model_dump()
    (tmp_path / "config.json").write_text(trusting.model_dump_json())
    assert not load_config(tmp_path).trust
