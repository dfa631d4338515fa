"""`plan`: what a job will take, measured on a few of its slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import Json, Threads
from vlm_relabel.cli.estimate_console import show_estimate
from vlm_relabel.cli.guard import guarded
from vlm_relabel.cli.job_arguments import (
    BatchSize,
    DecodeThreads,
    Device,
    Dtype,
    Exclude,
    KeepFrames,
    KeepMerged,
    NoFrames,
    OptionalCameras,
    OptionalEncoder,
    OptionalGoals,
    PerSlice,
    Precision,
    Preprocess,
    Reward,
    Scores,
    Source,
    Split,
)

if TYPE_CHECKING:
    from relabel.jobs.estimates import Estimate


def plan(
    source: Source,
    camera: OptionalCameras = None,
    encoder: OptionalEncoder = None,
    goals: OptionalGoals = None,
    no_frames: NoFrames = False,
    split: Split = None,
    reward: Reward = "softmax-threshold",
    scores: Scores = True,
    device: Device = "cpu",
    precision: Precision = "auto",
    preprocess: Preprocess = None,
    batch_size: BatchSize = 64,
    decode_threads: DecodeThreads = 2,
    dtype: Dtype = "float16",
    keep_frames: KeepFrames = False,
    episodes_per_slice: PerSlice = None,
    exclude: Exclude = None,
    keep_merged: KeepMerged = False,
    threads: Threads = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of workers elsewhere, each on a machine like this one.",
        ),
    ] = 8,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="PRICE",
            help="Price of one worker for an hour, in any currency. By default no costs are told.",
        ),
    ] = None,
    start_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="S",
            help="Seconds before the workers elsewhere begin. The default is a rule of thumb.",
        ),
    ] = None,
    sample_slices: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of slices that are done to measure.")
    ] = 2,
    json: Json = False,
) -> None:
    """Say what relabel or embed will take: slices, frames, bytes, hours and cost.

    A few slices are done in a temporary folder, and nothing is kept of them.
    """

    def run() -> Estimate:
        from vlm_relabel import planning

        return planning.plan(
            source=source,
            camera=camera,
            encoder=encoder,
            goals=goals,
            no_frames=no_frames,
            split=split,
            reward=reward,
            scores=scores,
            device=device,
            precision=precision,
            preprocess=preprocess,
            batch_size=batch_size,
            decode_threads=decode_threads,
            dtype=dtype,
            keep_frames=keep_frames,
            episodes_per_slice=episodes_per_slice,
            exclude=exclude,
            keep_merged=keep_merged,
            threads=threads,
            workers=workers,
            price_per_hour=price_per_hour,
            start_seconds=start_seconds,
            sample_slices=sample_slices,
        )

    _show(guarded(run, json), json)


def _show(found: Estimate, as_json: bool) -> None:
    if as_json:
        console.print_json(found.model_dump(mode="json"))
        return
    show_estimate(found)
