"""Jobs without Beam: the same bytes, and a plain word where Beam is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.jobs import with_beam
from relabel.jobs import run
from relabel.jobs.options import GoalDatasetOptions, JobOptions, RunOptions
from relabel.jobs.report import PROFILE
from relabel.jobs.work import Engine, in_this_process
from schemas.errors import RelabelError, StoreError
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.store_checks import hashes, leftovers, problems

WHAT = GoalDatasetOptions("gc1")


def _all_jobs(store: Path, embedding: Embedding, scoring: Scoring, execute: Engine) -> None:
    options = JobOptions(str(store), threads=2, profile=True)
    done = run.relabel(options, embedding(), scoring(), execute)
    assert done.profile is not None
    assert done.profile.stages
    run.score(options, replace(scoring(), name="v2"), execute)
    run.build_goals(options, WHAT, execute)


def test_a_job_without_beam_writes_the_same_bytes(
    tmp_path: Path, embedding: Embedding, scoring: Scoring
) -> None:
    _all_jobs(tmp_path / "beam", embedding, scoring, with_beam)
    _all_jobs(tmp_path / "plain", embedding, scoring, in_this_process)
    assert hashes(tmp_path / "plain") == hashes(tmp_path / "beam")
    assert problems(tmp_path / "plain") == []
    assert [path.name for path in leftovers(tmp_path / "plain")] == [PROFILE]


@pytest.mark.parametrize("where", [RunOptions(workers=2), RunOptions(beam_args=("--x",))])
def test_what_needs_beam_says_so(tmp_path: Path, embedding: Embedding, where: RunOptions) -> None:
    options = JobOptions(str(tmp_path / "store"), run=where)
    with pytest.raises(RelabelError, match=r"vlm-relabel\[beam\]"):
        run.embed(options, embedding())


def test_a_job_without_beam_goes_on_where_it_was_stopped(
    tmp_path: Path, embedding: Embedding, scoring: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    _all_jobs(tmp_path / "whole", embedding, scoring, in_this_process)
    options = JobOptions(str(tmp_path / "store"), threads=2)
    original = run.ScoreWork.open

    def fails(work: run.ScoreWork) -> object:
        raise StoreError("the disk is full")

    monkeypatch.setattr(run.ScoreWork, "open", fails)
    with pytest.raises(StoreError, match="the disk is full"):
        run.relabel(options, embedding(), scoring())
    monkeypatch.setattr(run.ScoreWork, "open", original)
    assert run.relabel(options, embedding(), scoring()).unfinished == ()
    run.score(options, replace(scoring(), name="v2"))
    run.build_goals(options, WHAT)
    assert hashes(tmp_path / "store") == hashes(tmp_path / "whole")
