"""What workers must have is asked for the step that embeds alone, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import fn_runner

from pipelines import jobs
from pipelines.hints import embed_hints
from relabel.jobs.options import JobOptions, RunOptions
from schemas.errors import RunnerError
from tests.pipelines.job_options import Embedding, Scoring

FLINK = ("--runner", "FlinkRunner")
GPU = "accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
HINTS = ("--embed_resource_hint", GPU, "--embed_resource_hint", "min_ram=16GB")


class _SentError(Exception):
    """Ends a job where it would be run."""


def hints_by_step(build: Callable[[beam.Pipeline], Any]) -> dict[str, dict[str, bytes]]:
    """Of every step that runs our code, as runners get it."""
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner())
    build(pipeline)
    found = pipeline.to_runner_api().components
    return {
        step.unique_name: {
            urn.rpartition(":")[0].rpartition(":")[2]: value
            for urn, value in found.environments[step.environment_id].resource_hints.items()
        }
        for step in found.transforms.values()
        if step.environment_id
    }


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, dict[str, bytes]]]:
    """Hints of every job that is sent away; none is run."""
    found: list[dict[str, dict[str, bytes]]] = []

    def look(build: Callable[[beam.Pipeline], Any], *_: Any) -> None:
        found.append(hints_by_step(build))
        raise _SentError

    monkeypatch.setattr(jobs, "run_elsewhere", look)
    return found


@pytest.mark.parametrize("words", [HINTS, ()])
def test_only_the_step_that_embeds_has_hints(
    words: tuple[str, ...],
    job: JobOptions,
    embedding: Embedding,
    scoring: Scoring,
    sent: list[dict[str, dict[str, bytes]]],
) -> None:
    options = replace(job, run=RunOptions(beam_args=(*FLINK, *words)))
    with pytest.raises(_SentError):
        jobs.relabel(options, embedding(), scoring())
    (steps,) = sent
    hinted = {name for name, hints in steps.items() if hints}
    assert hinted == ({"EmbedSlices", "EmbedSlices/Slices"} if words else set())
    assert {"EmbedSlices/Slices", "ScoreSlices/Slices", "FinishTables/Finish"} <= set(steps)
    if words:
        accelerator = GPU.removeprefix("accelerator=").encode()
        assert steps["EmbedSlices/Slices"] == {
            "accelerator": accelerator,
            "min_ram_bytes": b"16000000000",
        }


REFUSED = {
    "no value": ((*FLINK, "--embed_resource_hint", "min_ram"), "min_ram: expected NAME=VALUE"),
    "twice": ((*FLINK, *HINTS, *HINTS), "accelerator is given twice"),
    "unknown": ((*FLINK, "--embed_resource_hint", "ram=1GB"), "Unknown resource hint: ram;"),
    "no size": ((*FLINK, "--embed_resource_hint", "min_ram=much"), "min_ram has invalid value"),
    "local": (HINTS, "FnApiRunner, which runs without --runner, runs on machines"),
    "named": (("--runner", "FnApiRunner", *HINTS), "FnApiRunner runs on machines"),
    "Dask": (("--runner", "dask", *HINTS), "DaskRunner runs on machines that are there"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_before_anything_is_written(
    case: str, job: JobOptions, embedding: Embedding
) -> None:
    words, message = REFUSED[case]
    with pytest.raises(RunnerError, match=message) as caught:
        jobs.embed(replace(job, run=RunOptions(beam_args=words)), embedding())
    assert len(str(caught.value).splitlines()) == 1
    assert not Path(job.store).exists()


def test_hints_are_beams_own() -> None:
    assert embed_hints(HINTS) == {"accelerator": GPU.partition("=")[2], "min_ram": "16GB"}
    assert embed_hints(FLINK) == {}
