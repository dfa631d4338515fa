"""From parsed options to a job. The only module here that loads Beam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import jobs
from pipelines.runners import runner_arguments
from relabel.jobs.options import (
    EmbedOptions,
    JobOptions,
    LoadEncoder,
    RunOptions,
    ScoreOptions,
    encoder_loader,
)
from relabel.jobs.report import JobReport
from schemas.enums import LastStep
from schemas.errors import RelabelError
from vlm_relabel.cli import console
from vlm_relabel.cli.goal_words import read_goals
from vlm_relabel.cli.typed import command_line

Values = Mapping[str, Any]


def relabel(values: Values) -> JobReport:
    """Runs the job `relabel`."""
    with console.progress(values["json"]) as show:
        return jobs.relabel(_job(values, show), _embedding(values), _scoring(values))


def embed(values: Values) -> JobReport:
    """Runs the job `embed`."""
    with console.progress(values["json"]) as show:
        return jobs.embed(_job(values, show), _embedding(values))


def score(values: Values) -> JobReport:
    """Runs the job `score`."""
    with console.progress(values["json"]) as show:
        return jobs.score(_job(values, show), _scoring(values))


def _job(values: Values, show: console.Show) -> JobOptions:
    return JobOptions(
        store=values["store"],
        run=RunOptions(values["workers"], runner_arguments(values["context"].args)),
        threads=values["threads"],
        max_dead_ratio=values["max_dead_ratio"],
        overwrite=values["overwrite"],
        trust=values.get("trust", False),
        dry_run=values["dry_run"],
        profile=values["profile"],
        command=command_line(),
        show=show,
    )


def _embedding(values: Values) -> EmbedOptions:
    if values["dtype"] not in ("float16", "float32"):
        raise RelabelError(f"--dtype: expected float16 or float32, got {values['dtype']!r}")
    with_frames = _with_frames(values)
    return EmbedOptions(
        source=values["source"],
        split=values["split"],
        cameras=tuple(values["camera"] or ()),
        encoder=_encoder(values) if with_frames else None,
        batch_size=values["batch_size"],
        decode_threads=values["decode_threads"],
        dtype=values["dtype"],
        keep_frames=values["keep_frames"],
        accept_empty=values["skip_blank_cameras"],
        last_step=_last_step(values["last_step"]),
        episodes_per_slice=values["episodes_per_slice"],
        exclude=tuple(values["exclude"] or ()),
        keep_merged=values["keep_merged"],
        retry_dead_letters=values["retry_dead_letters"],
    )


def _with_frames(values: Values) -> bool:
    """Whether frames are to be embedded; that, or that not, must be said in full."""
    given = [name for name in ("camera", "encoder") if values[name]]
    if not values.get("no_frames", False):
        if missing := [f"--{name}" for name in ("camera", "encoder") if name not in given]:
            raise RelabelError(
                f"{' and '.join(missing)}: missing; `vlm-relabel inspect` lists the cameras; for a "
                "store of steps and episodes alone, without any frame, give --no-frames"
            )
        return True
    wrong = [f"--{name}" for name in (*given, *(["keep-frames"] if values["keep_frames"] else []))]
    if wrong:
        raise RelabelError(
            f"--no-frames and {', '.join(wrong)} exclude each other; leave one side out"
        )
    return False


def _encoder(values: Values) -> LoadEncoder:
    return encoder_loader(
        values["encoder"],
        values["device"],
        values["precision"],
        values.get("truncate_texts", False),
        values["preprocess"],
    )


def _last_step(text: str) -> LastStep | None:
    if text == "auto":
        return None
    try:
        return LastStep(text)
    except ValueError as error:
        known = ", ".join(["auto", *LastStep])
        raise RelabelError(f"--last-step: expected one of {known}, got {text!r}") from error


def _scoring(values: Values) -> ScoreOptions:
    parameters = {
        "temperature": values["temperature"],
        "threshold": values["threshold"],
        "alpha": values["alpha"],
        "window": values["window"],
    }
    nulls = values["null_prompt"]
    return ScoreOptions(
        encoder=_encoder(values),
        goals=read_goals(values["goals"], nulls),
        name=values["name"],
        reward=values["reward"],
        parameters={key: value for key, value in parameters.items() if value is not None},
        cameras=tuple(values["camera"] or ()),
        timing=values["timing"],
        fusion=values["fuse"],
        skip_blank_cameras=values["skip_blank_cameras"],
        scores=values["scores"],
        null_prompts=None if nulls is None else tuple(nulls),
    )
