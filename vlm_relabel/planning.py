"""`plan`, as a function: what a job will take, before it is started."""

from __future__ import annotations

import os
import tempfile
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from relabel.encoders.protocol import LoadEncoder
from relabel.jobs import run
from relabel.jobs.estimates import Estimate, EstimateOptions
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from schemas.errors import RelabelError
from vlm_relabel.arguments import EmbedArguments, EncoderArguments, ScoreArguments
from vlm_relabel.goal_words import Goals
from vlm_relabel.keywords import STRICT, Count, Location, Words, takes

_NOWHERE = "planned.store"  # no such store is looked at


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlanArguments(EncoderArguments):
    """Of `plan`."""

    source: Location
    camera: Words = None
    encoder: str | LoadEncoder | None = None
    goals: Goals | None = None  # None: frames are only embedded
    no_frames: bool = False
    split: str | None = None
    reward: str = "softmax-threshold"
    scores: bool = True
    batch_size: Count = 64
    decode_threads: Count = 2
    dtype: Literal["float16", "float32"] = "float16"
    keep_frames: bool = False
    episodes_per_slice: Count | None = None
    exclude: Words = None
    keep_merged: bool = False
    threads: Count | None = None
    workers: Count = 8  # elsewhere, each on a machine like this one
    price_per_hour: Annotated[float, Field(ge=0)] | None = None  # of one of them
    start_seconds: Annotated[float, Field(ge=0)] | None = None  # until they begin
    sample_slices: Count = 2  # measured

    @property
    def embedding(self) -> EmbedOptions:
        """As a job takes it."""
        return EmbedArguments(
            store=_NOWHERE,
            source=self.source,
            camera=self.camera,
            encoder=self.encoder,
            no_frames=self.no_frames,
            split=self.split,
            device=self.device,
            precision=self.precision,
            preprocess=self.preprocess,
            batch_size=self.batch_size,
            decode_threads=self.decode_threads,
            dtype=self.dtype,
            keep_frames=self.keep_frames,
            episodes_per_slice=self.episodes_per_slice,
            exclude=self.exclude,
            keep_merged=self.keep_merged,
        ).embedding

    @property
    def scoring(self) -> ScoreOptions | None:
        """As a job takes it; None if there are no goals."""
        if self.goals is None or self.encoder is None:
            return None
        return ScoreArguments(
            store=_NOWHERE,
            encoder=self.encoder,
            goals=self.goals,
            reward=self.reward,
            scores=self.scores,
            device=self.device,
            precision=self.precision,
            preprocess=self.preprocess,
        ).scoring

    @property
    def wanted(self) -> EstimateOptions:
        """What is assumed."""
        return EstimateOptions(
            self.workers,
            self.price_per_hour,
            self.start_seconds,
            self.sample_slices,
            needed=True,
        )


@takes(PlanArguments)
def plan(arguments: PlanArguments) -> Estimate:
    """Says what a `relabel` or `embed` will take: slices, frames, bytes, hours and cost.

    Takes the options of `vlm-relabel plan`. Some slices are done in a temporary folder.

    Returns:
        The estimate, with what was measured for it and what is assumed.

    Raises:
        RelabelError: as `relabel`.

    Example:
        >>> import vlm_relabel
        >>> found = vlm_relabel.plan(
        ...     source="my_dataset/1.0.0",
        ...     camera="image_0",
        ...     encoder="local-dir:my_encoder",
        ...     goals="goals.yaml",
        ... )
        >>> found.slices, found.frames
        (2, 90)
    """
    scoring = arguments.scoring
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-plan-") as folder:
        job = JobOptions(
            os.path.join(folder, "store"),
            threads=arguments.threads,
            dry_run=True,
            estimate=arguments.wanted,
        )
        if scoring is None:
            done = run.embed(job, arguments.embedding)
        else:
            done = run.relabel(job, arguments.embedding, scoring)
    if done.estimate is None:
        raise RelabelError(f"{done.source}: nothing to do")
    return done.estimate
