"""`--profile`: the stages of a job, told, kept, and together the time of its slices."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import jobs
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.report import PROFILE
from relabel.slices.profile import BACKGROUND, FOREGROUND, Profile
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.store_checks import problems


def test_an_inner_stage_takes_its_time_from_the_outer_one() -> None:
    profile = Profile()
    began = time.perf_counter()
    with profile.stage("outer"):
        time.sleep(0.02)
        with profile.stage("inner"):
            time.sleep(0.05)
        time.sleep(0.02)
    elapsed = time.perf_counter() - began
    seconds = profile.seconds
    assert seconds["inner"] >= 0.05
    assert 0.04 <= seconds["outer"] <= elapsed - seconds["inner"]
    assert sum(seconds.values()) == pytest.approx(elapsed, abs=0.005)


def test_each_times_what_makes_an_item_and_not_what_uses_it() -> None:
    profile = Profile()

    def slow() -> object:
        for item in range(3):
            time.sleep(0.02)
            yield item

    assert [time.sleep(0.05) or item for item in profile.each("make", slow())] == [0, 1, 2]  # type: ignore[func-returns-value]
    assert 0.06 <= profile.seconds["make"] < 0.15


def test_an_error_ends_its_stage() -> None:
    profile = Profile()
    with profile.stage("outer"):
        with pytest.raises(ValueError, match="x"), profile.stage("inner"):
            raise ValueError("x")
        assert set(profile.seconds) == {"outer", "inner"}
    with profile.stage("later"):
        pass
    assert set(profile.seconds) == {"outer", "inner", "later"}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("workers_import_tests")
def test_a_job_tells_and_keeps_its_stages(
    workers: int, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    job = replace(job, run=RunOptions(workers=workers), profile=True)
    done = jobs.relabel(job, embedding(), scoring())
    profile = done.profile
    assert profile is not None
    assert set(profile.seconds) == {*BACKGROUND, *FOREGROUND}
    assert all(seconds >= 0 for seconds in profile.seconds.values())
    assert 0 < profile.slices_s <= workers * done.elapsed_s
    embed = next(stage for stage in profile.stages if stage.stage == "embed")
    assert embed.ms_per_frame == pytest.approx(1000 * embed.seconds / done.frames_new)
    kept = json.loads((store / PROFILE).read_text())
    assert kept == json.loads(done.model_dump_json())
    assert problems(store) == []  # verify takes no offence at it


def test_a_job_of_two_pipelines_has_one_profile(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    job = replace(job, profile=True)
    done = jobs.relabel(job, embedding(), scoring(goals="field:language_instruction"))
    assert done.profile is not None
    assert set(done.profile.seconds) == {*BACKGROUND, *FOREGROUND}


def test_no_profile_unless_asked(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    assert jobs.relabel(job, embedding(), scoring()).profile is None
    assert jobs.score(replace(job, profile=True, dry_run=True), scoring()).profile is None
    assert not (store / PROFILE).exists()
