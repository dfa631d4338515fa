"""What `relabel`, `embed`, `score` and `build_goals` are asked for: one object per job.

The fields are the options of the command line: `--null-prompt` is `null_prompt`. An option that
may be repeated is one text or a list of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from relabel.encoders.protocol import LoadEncoder
from relabel.encoders.registry import encoder_loader
from relabel.encoders.stored_texts import StoredTexts
from relabel.jobs.estimates import WORKERS, EstimateOptions
from relabel.jobs.finishing import FinishOptions
from relabel.jobs.options import (
    EmbedOptions,
    GoalDatasetOptions,
    HeadOptions,
    JobOptions,
    RunOptions,
    ScoreOptions,
    runner_arguments,
)
from relabel.jobs.parts import OPTION, Part, whole_command
from relabel.jobs.progress import Progress
from schemas.enums import Fusion, Kind, LastStep, Timing
from schemas.errors import RelabelError
from schemas.goal_datasets import DatasetOptions
from schemas.labels import Labels, read_labels
from schemas.pairs import parse_pairs
from vlm_relabel.goal_words import Goals, read_goals
from vlm_relabel.keywords import (
    STRICT,
    Count,
    Location,
    Share,
    Words,
    option_problems,
    several,
)


def _silent(progress: Progress) -> None:
    """Shows nothing."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JobArguments:
    """Where a job works, and how."""

    store: Location
    workers: Count = 1  # processes on this machine
    threads: Count | None = None  # native ones of each worker; None: cores / workers
    overwrite: bool = False  # replace tables that were made from other inputs
    dry_run: bool = False  # write nothing
    beam_args: Sequence[str] = ()  # of another runner, as the command line has them after --
    command: str | None = None  # kept in manifests: what makes the tables again
    show: Callable[[Progress], None] = _silent  # called now and then

    @property
    def job(self) -> JobOptions:
        """As a job takes it."""
        return JobOptions(
            store=os.fspath(self.store),
            run=RunOptions(self.workers, runner_arguments(self.beam_args)),
            threads=self.threads,
            overwrite=self.overwrite,
            dry_run=self.dry_run,
            command=self.command,
            show=self.show,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlicesArguments(JobArguments):
    """Of a job that can be given a part of the slices."""

    slices: str | None = None  # I/N: the I-th of N parts of them; None: all
    price_per_hour: Annotated[float, Field(ge=0)] | None = None  # of a dry run: of one worker

    @property
    def job(self) -> JobOptions:
        """As a job takes it.

        Raises:
            RelabelError: a part, and what only the whole job can do; a price that is not asked for.
        """
        if self.price_per_hour is not None and not self.dry_run:
            raise RelabelError("--price-per-hour: goes with --dry-run, which tells the costs")
        elsewhere = self.workers if self.workers > 1 else WORKERS
        job = replace(super().job, estimate=EstimateOptions(elsewhere, self.price_per_hour))
        if self.slices is None:
            return job
        part = Part.parse(self.slices)
        if self.overwrite:
            raise RelabelError(
                f"--overwrite and {OPTION} exclude each other: one part would delete what another "
                "has made; choose another name, or run the job once without parts"
            )
        return replace(job, part=part, command=whole_command(job.command))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderArguments:
    """How an encoder is loaded."""

    device: str = "cpu"
    precision: str = "auto"
    preprocess: str | None = None  # of a checkpoint file that does not tell

    def loader(self, encoder: str | LoadEncoder, truncate_texts: bool = False) -> LoadEncoder:
        """A function that loads it."""
        if callable(encoder):
            return encoder
        return encoder_loader(encoder, self.device, self.precision, truncate_texts, self.preprocess)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FrameArguments(SlicesArguments, EncoderArguments):
    """What is read of a source, and how its frames are embedded."""

    source: Location
    split: str | None = None  # or a part of one; None: what the store holds, or train
    skip_blank_cameras: bool = False
    batch_size: Count = 64
    decode_threads: Count = 2
    dtype: Literal["float16", "float32"] = "float16"  # of the stored embeddings
    keep_frames: bool = False
    last_step: Literal["auto", "final-observation", "carries-action"] = "auto"
    episodes_per_slice: Count | None = None
    exclude: Words = None  # patterns of features
    keep_merged: bool = False
    max_dead_ratio: Share = 0.0
    retry_dead_letters: bool = False
    profile: bool = False

    @property
    def job(self) -> JobOptions:
        """As a job takes it."""
        return replace(super().job, max_dead_ratio=self.max_dead_ratio, profile=self.profile)

    def embedding_of(self, cameras: tuple[str, ...], encoder: LoadEncoder | None) -> EmbedOptions:
        """What is to be embedded, as a job takes it; without an encoder, no frame is."""
        if self.retry_dead_letters and self.slices is not None:
            raise RelabelError(
                f"--retry-dead-letters and {OPTION} exclude each other: every part would make the "
                "same slices again; run it once without parts"
            )
        return EmbedOptions(
            source=os.fspath(self.source),
            split=self.split,
            cameras=cameras,
            encoder=encoder,
            batch_size=self.batch_size,
            decode_threads=self.decode_threads,
            dtype=self.dtype,
            keep_frames=self.keep_frames,
            accept_empty=self.skip_blank_cameras,
            last_step=None if self.last_step == "auto" else LastStep(self.last_step),
            episodes_per_slice=self.episodes_per_slice,
            exclude=several(self.exclude),
            keep_merged=self.keep_merged,
            retry_dead_letters=self.retry_dead_letters,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardArguments(EncoderArguments):
    """Goals, and what rewards are made of them."""

    encoder: str | LoadEncoder
    goals: Goals  # file, field:NAME, texts, or a goal set
    name: str = "v1"  # of the reward set
    reward: str = "softmax-threshold"
    temperature: float | None = None
    threshold: float | None = None
    alpha: float | None = None
    window: int | None = None
    set: Mapping[str, Any] | Words = None  # any parameter of the reward, as of NAME=VALUE
    timing: Timing = Timing.NEXT_FRAME
    fuse: Fusion = Fusion.MEAN
    scores: bool = True
    null_prompt: Words = None
    truncate_texts: bool = False
    head: Literal["auto", "cached", "linear"] | None = None  # None: zero-shot
    labels: Location | Labels | None = None  # file, or the labels themselves: what a head learns

    def scoring_of(self, cameras: tuple[str, ...], skip_blank_cameras: bool) -> ScoreOptions:
        """What is to be scored, as a job takes it."""
        nulls = None if self.null_prompt is None else several(self.null_prompt)
        return ScoreOptions(
            encoder=self.loader(self.encoder, self.truncate_texts),
            goals=read_goals(self.goals, nulls),
            name=self.name,
            reward=self.reward,
            parameters=self._parameters,
            cameras=cameras,
            timing=self.timing,
            fusion=self.fuse,
            skip_blank_cameras=skip_blank_cameras,
            scores=self.scores,
            null_prompts=nulls,
            head=self._head,
        )

    @property
    def _head(self) -> HeadOptions | None:
        """What a head is to be made of."""
        if self.head is None and self.labels is None:
            return None
        if self.head is None or self.labels is None:
            given, missing = (
                ("--head", "--labels") if self.labels is None else ("--labels", "--head")
            )
            raise RelabelError(
                f"{given}: goes with {missing}, which is not given; a head is made of labels: "
                "--head auto --labels FILE"
            )
        if isinstance(self.labels, Labels):
            return HeadOptions(self.labels, self.head)
        return HeadOptions(read_labels(os.fspath(self.labels)), self.head)

    @property
    def _parameters(self) -> dict[str, Any]:
        """Of the reward function, those that are given."""
        named = {
            "temperature": self.temperature,
            "threshold": self.threshold,
            "alpha": self.alpha,
            "window": self.window,
        }
        given = {name: value for name, value in named.items() if value is not None}
        others = (
            self.set if isinstance(self.set, Mapping) else parse_pairs("--set", several(self.set))
        )
        if twice := sorted(given.keys() & others.keys()):
            raise RelabelError(
                f"--set {twice[0]}: --{twice[0]} is given as well; leave one of the two out"
            )
        return {**given, **others}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RelabelArguments(FrameArguments, RewardArguments):
    """Of `relabel`."""

    camera: str | Sequence[str]

    @property
    def embedding(self) -> EmbedOptions:
        """As a job takes it."""
        encoder = self.loader(self.encoder, self.truncate_texts)
        return self.embedding_of(several(self.camera), encoder)

    @property
    def scoring(self) -> ScoreOptions:
        """As a job takes it."""
        return self.scoring_of(several(self.camera), self.skip_blank_cameras)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbedArguments(FrameArguments):
    """Of `embed`."""

    camera: Words = None
    encoder: str | LoadEncoder | None = None
    no_frames: bool = False  # steps and episodes alone

    @property
    def embedding(self) -> EmbedOptions:
        """As a job takes it.

        Raises:
            RelabelError: whether frames are to be embedded is not said in full.
        """
        cameras = several(self.camera)
        if self.no_frames:
            self._refuse_frames(cameras)
            return self.embedding_of((), None)
        if not cameras or self.encoder is None:
            missing = [
                *(() if cameras else ("--camera",)),
                *(() if self.encoder else ("--encoder",)),
            ]
            raise RelabelError(
                f"{' and '.join(missing)}: missing; `vlm-relabel inspect` lists the cameras; for a "
                "store of steps and episodes alone, without any frame, give --no-frames"
            )
        return self.embedding_of(cameras, self.loader(self.encoder))

    def _refuse_frames(self, cameras: tuple[str, ...]) -> None:
        given = {"--camera": cameras, "--encoder": self.encoder, "--keep-frames": self.keep_frames}
        if wrong := [option for option, value in given.items() if value]:
            raise RelabelError(
                f"--no-frames and {', '.join(wrong)} exclude each other; leave one side out"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScoreArguments(SlicesArguments, RewardArguments):
    """Of `score`."""

    camera: Words = None  # embedded ones; None: all
    skip_blank_cameras: bool = False
    max_dead_ratio: Share = 0.0
    trust: bool = False  # of stored files, compare the sizes only
    profile: bool = False
    no_embed: bool = False  # embeddings of texts are those that the store keeps

    @property
    def job(self) -> JobOptions:
        """As a job takes it."""
        return replace(
            super().job,
            max_dead_ratio=self.max_dead_ratio,
            trust=self.trust,
            profile=self.profile,
        )

    @property
    def scoring(self) -> ScoreOptions:
        """As a job takes it.

        Raises:
            RelabelError: `no_embed` and what only an encoder does.
        """
        scoring = self.scoring_of(several(self.camera), self.skip_blank_cameras)
        return replace(scoring, encoder=self._stored()) if self.no_embed else scoring

    def _stored(self) -> StoredTexts:
        given = {"--truncate-texts": self.truncate_texts, "--preprocess": self.preprocess}
        if wrong := [option for option, value in given.items() if value]:
            raise RelabelError(
                f"--no-embed and {', '.join(wrong)} exclude each other; leave one side out"
            )
        if not isinstance(self.encoder, str):
            raise RelabelError(
                f"--no-embed: expected the name of a stored encoder, got {self.encoder!r:.100}"
            )
        return StoredTexts(self.encoder, self.precision)


_OPTIONS: Final = {"kinds": "kind", "goals": "goal", "episodes": "episode"}  # by field


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinishArguments:
    """Of `finish`."""

    store: Location
    max_dead_ratio: Share = 0.0
    skip_blank_cameras: bool = False  # empty images do not count as lost
    trust: bool = False  # of stored files, compare the sizes only
    command: str | None = None  # who holds the tables meanwhile

    @property
    def finishing(self) -> FinishOptions:
        """As it is done."""
        return FinishOptions(
            store=os.fspath(self.store),
            max_dead_ratio=self.max_dead_ratio,
            accept_empty=self.skip_blank_cameras,
            trust=self.trust,
            command=self.command,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BuildGoalsArguments(SlicesArguments):
    """Of `build_goals`."""

    rewards: str | None = None  # reward set; None: v1
    name: str = "gc1"  # of the goal dataset
    end_on_success: bool = True
    step_reward: int = 0  # or -1
    success_above: float = 0.5
    discount: float = 0.99
    min_length: int = 1
    failed_per_achieved: float = 1.0
    failed_at_least: int = 1
    hindsight_most: int = 4
    commands_hold: bool = False
    kind: Kind | Sequence[Kind] | None = None  # of trajectories; None: all
    goal: Words = None  # ids; None: all
    episode: Words = None  # patterns of ids; None: all
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0
    truth: str | None = None  # column of the steps table
    no_rewards: bool = False  # of the truth alone
    goals: Goals | None = None  # with no_rewards: of the column
    timing: Timing | None = None  # with no_rewards
    materialize: bool = False
    trust: bool = False  # of stored files, compare the sizes only

    @property
    def job(self) -> JobOptions:
        """As a job takes it."""
        return replace(super().job, trust=self.trust)

    @property
    def dataset(self) -> GoalDatasetOptions:
        """What the dataset is to be, as a job takes it."""
        return GoalDatasetOptions(
            name=self.name,
            rewards=self._rewards(),
            options=self._options(),
            truth=self.truth,
            materialize=self.materialize,
            goals=read_goals(self.goals, None) if self.goals else None,
            timing=self.timing,
        )

    def _rewards(self) -> str | None:
        """The reward set asked for; None if there is to be none."""
        if not self.no_rewards:
            return "v1" if self.rewards is None else self.rewards
        if self.rewards is not None:
            raise RelabelError(
                f"--rewards {self.rewards} and --no-rewards exclude each other; leave one out"
            )
        return None

    def _options(self) -> DatasetOptions:
        """How the trajectories are cut; DatasetOptions checks the ranges."""
        given = {
            name: getattr(self, _OPTIONS.get(name, name)) for name in DatasetOptions.model_fields
        }
        given |= {name: several(given[name]) for name in _OPTIONS if given[name] is not None}
        try:
            return DatasetOptions.model_validate(
                {name: value for name, value in given.items() if value is not None}
            )
        except ValidationError as error:
            raise RelabelError(option_problems(error, _OPTIONS)) from error
