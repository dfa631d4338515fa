"""What a job is asked to do: one frozen record per job, filled by the command line."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from relabel.encoders.protocol import LoadEncoder
from relabel.encoders.stored_texts import StoredTexts
from relabel.heads.fit import AskedKind
from relabel.jobs.estimates import EstimateOptions
from relabel.jobs.parts import Part
from relabel.jobs.progress import Progress
from schemas.enums import Fusion, LastStep, Timing
from schemas.errors import RelabelError
from schemas.goal_datasets import DatasetOptions
from schemas.goals import GoalSet
from schemas.labels import Labels


def _silent(progress: Progress) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class RunOptions:
    """Where a job runs."""

    workers: int = 1  # local processes; other runners take their own option
    beam_args: tuple[str, ...] = ()  # what the user wrote after `--`


def runner_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """Beam arguments as given after `--`, checked for what this job cannot run on.

    Raises:
        RelabelError: DirectRunner or Prism by name.
    """
    if arguments and not arguments[0].startswith("-"):
        raise RelabelError(f"unexpected argument {arguments[0]!r}; Beam options go after --")
    text = " ".join(arguments)
    if re.search(r"--runner[= ](DirectRunner|PrismRunner|SwitchingDirectRunner)\b", text):
        raise RelabelError(
            "--runner: DirectRunner now starts Prism, which fetches a program at run time and "
            "ignores worker options; leave --runner out to run locally (see --workers)"
        )
    return tuple(arguments)


@dataclass(frozen=True)
class JobOptions:
    """What every job takes."""

    store: str
    run: RunOptions = field(default_factory=RunOptions)
    threads: int | None = None  # native threads per worker; None: cores / workers
    max_dead_ratio: float = 0.0  # share of records that may be dead letters
    overwrite: bool = False
    part: Part | None = None  # of the slices; None: all, and the tables are finished
    dry_run: bool = False
    trust: bool = False  # of complete tables, compare the sizes of files only
    profile: bool = False  # report where the time went, and keep it in the store
    command: str | None = None  # kept in manifests: how to resume
    show: Callable[[Progress], None] = field(default=_silent, compare=False)
    estimate: EstimateOptions = field(default_factory=EstimateOptions)  # of a dry run
    asked: float = field(default_factory=time.perf_counter, compare=False)  # when

    @property
    def worker_threads(self) -> int:
        """Native threads of one worker."""
        if self.threads is not None:
            return self.threads
        return max(1, (os.cpu_count() or 1) // self.run.workers)


@dataclass(frozen=True)
class EmbedOptions:
    """Source to embeddings."""

    source: str
    split: str | None  # or a part of one; None: the part that the store holds, or "train"
    cameras: tuple[str, ...] = ()
    encoder: LoadEncoder | None = None  # None: only steps and episodes are written, without frames
    batch_size: int = 64
    decode_threads: int = 2
    dtype: Literal["float16", "float32"] = "float16"
    keep_frames: bool = False
    accept_empty: bool = False  # empty images are dead letters that --max-dead-ratio leaves out
    last_step: LastStep | None = None  # None: detect
    episodes_per_slice: int | None = None  # None: from the stored size
    exclude: tuple[str, ...] = ()  # patterns of features to leave out; (): as the store has it
    keep_merged: bool = False  # records of several episodes stay whole
    retry_dead_letters: bool = False  # slices with dead letters are made again


@dataclass(frozen=True)
class HeadOptions:
    """A head to be made of labels."""

    labels: Labels
    kind: AskedKind = "auto"


@dataclass(frozen=True)
class ScoreOptions:
    """Embeddings to rewards."""

    encoder: LoadEncoder | StoredTexts  # the latter embeds no text
    # Path of a file, "field:<name of a text column>", the texts, or the goal set itself.
    goals: str | tuple[str, ...] | GoalSet
    name: str = "v1"
    reward: str = "softmax-threshold"
    parameters: dict[str, Any] = field(default_factory=dict)  # of the reward function
    cameras: tuple[str, ...] = ()  # (): every camera embedded under the encoder
    timing: Timing = Timing.NEXT_FRAME
    fusion: Fusion = Fusion.MEAN
    skip_blank_cameras: bool = False  # a camera counts only where it shows something
    scores: bool = True
    null_prompts: tuple[str, ...] | None = None  # of texts and mined goals; None: the default
    head: HeadOptions | None = None  # None: zero-shot


@dataclass(frozen=True)
class GoalDatasetOptions:
    """Rewards, or a column of truth, to a goal dataset."""

    name: str
    rewards: str | None = "v1"  # reward set; None: `truth` is all that there is
    options: DatasetOptions = field(default_factory=DatasetOptions)
    truth: str | None = None  # a steps column of one value per goal: also makes `<name>.true`
    materialize: bool = False  # also write flat transitions
    # Without a reward set: the goals of the column, as of `score`.
    goals: str | tuple[str, ...] | GoalSet | None = None
    timing: Timing | None = None  # likewise: which frame a transition looks at; None: see `timing`
