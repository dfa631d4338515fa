"""`relabel`, `embed` and `score`: parse → run → show. Registered by `vlm_relabel.cli.main`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from schemas.enums import Fusion, Timing
from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import DryRun, Json, Overwrite, Slices, Threads, Trust, Workers
from vlm_relabel.cli.guard import guarded_job
from vlm_relabel.cli.job_arguments import (
    Alpha,
    BatchSize,
    Cameras,
    DecodeThreads,
    Device,
    Dtype,
    EmbeddedCameras,
    EncoderName,
    Exclude,
    Fuse,
    Goals,
    Head,
    HeadLabels,
    KeepFrames,
    KeepMerged,
    LastStepOption,
    MaxDead,
    Name,
    NoEmbed,
    NoFrames,
    NullPrompts,
    OptionalCameras,
    OptionalEncoder,
    PerSlice,
    Precision,
    Preprocess,
    Profile,
    Retry,
    Reward,
    Scores,
    Settings,
    SkipBlank,
    Source,
    Split,
    StorePath,
    Temperature,
    Threshold,
    TimingOption,
    TruncateTexts,
    Window,
)
from vlm_relabel.cli.typed import command_line

if TYPE_CHECKING:
    from relabel.jobs.report import JobReport


def relabel(
    context: typer.Context,
    source: Source,
    camera: Cameras,
    encoder: EncoderName,
    goals: Goals,
    store: StorePath,
    split: Split = None,
    reward: Reward = "softmax-threshold",
    name: Name = "v1",
    temperature: Temperature = None,
    threshold: Threshold = None,
    alpha: Alpha = None,
    window: Window = None,
    set: Settings = None,
    head: Head = None,
    labels: HeadLabels = None,
    timing: TimingOption = Timing.NEXT_FRAME,
    fuse: Fuse = Fusion.MEAN,
    skip_blank_cameras: SkipBlank = False,
    scores: Scores = True,
    null_prompt: NullPrompts = None,
    truncate_texts: TruncateTexts = False,
    device: Device = "cpu",
    precision: Precision = "auto",
    preprocess: Preprocess = None,
    batch_size: BatchSize = 64,
    decode_threads: DecodeThreads = 2,
    dtype: Dtype = "float16",
    keep_frames: KeepFrames = False,
    last_step: LastStepOption = "auto",
    episodes_per_slice: PerSlice = None,
    exclude: Exclude = None,
    keep_merged: KeepMerged = False,
    workers: Workers = 1,
    threads: Threads = None,
    max_dead_ratio: MaxDead = 0.0,
    retry_dead_letters: Retry = False,
    overwrite: Overwrite = False,
    slices: Slices = None,
    dry_run: DryRun = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Embed the frames of a source and reward them for goals. A rerun does only what is missing.

    Beam options go after `--`, such as `-- --runner FlinkRunner --flink_master host:8081`.
    """

    def run(show: console.Show) -> JobReport:
        from vlm_relabel import jobs

        return jobs.relabel(
            source=source,
            camera=camera,
            encoder=encoder,
            goals=goals,
            store=store,
            split=split,
            reward=reward,
            name=name,
            temperature=temperature,
            threshold=threshold,
            alpha=alpha,
            window=window,
            set=set,
            head=head,
            labels=labels,
            timing=timing,
            fuse=fuse,
            skip_blank_cameras=skip_blank_cameras,
            scores=scores,
            null_prompt=null_prompt,
            truncate_texts=truncate_texts,
            device=device,
            precision=precision,
            preprocess=preprocess,
            batch_size=batch_size,
            decode_threads=decode_threads,
            dtype=dtype,
            keep_frames=keep_frames,
            last_step=last_step,
            episodes_per_slice=episodes_per_slice,
            exclude=exclude,
            keep_merged=keep_merged,
            workers=workers,
            threads=threads,
            max_dead_ratio=max_dead_ratio,
            retry_dead_letters=retry_dead_letters,
            overwrite=overwrite,
            slices=slices,
            dry_run=dry_run,
            profile=profile,
            beam_args=context.args,
            command=command_line(),
            show=show,
        )

    console.show_job(guarded_job(run, json), json, encoder)


def embed(
    context: typer.Context,
    source: Source,
    store: StorePath,
    camera: OptionalCameras = None,
    encoder: OptionalEncoder = None,
    no_frames: NoFrames = False,
    split: Split = None,
    device: Device = "cpu",
    precision: Precision = "auto",
    preprocess: Preprocess = None,
    batch_size: BatchSize = 64,
    decode_threads: DecodeThreads = 2,
    dtype: Dtype = "float16",
    skip_blank_cameras: SkipBlank = False,
    keep_frames: KeepFrames = False,
    last_step: LastStepOption = "auto",
    episodes_per_slice: PerSlice = None,
    exclude: Exclude = None,
    keep_merged: KeepMerged = False,
    workers: Workers = 1,
    threads: Threads = None,
    max_dead_ratio: MaxDead = 0.0,
    retry_dead_letters: Retry = False,
    overwrite: Overwrite = False,
    slices: Slices = None,
    dry_run: DryRun = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Embed every frame of a source, once. Typed again, it adds another encoder to the store.

    With --no-frames the store gets only steps and episodes, for build-goals --no-rewards.
    """

    def run(show: console.Show) -> JobReport:
        from vlm_relabel import jobs

        return jobs.embed(
            source=source,
            store=store,
            camera=camera,
            encoder=encoder,
            no_frames=no_frames,
            split=split,
            device=device,
            precision=precision,
            preprocess=preprocess,
            batch_size=batch_size,
            decode_threads=decode_threads,
            dtype=dtype,
            skip_blank_cameras=skip_blank_cameras,
            keep_frames=keep_frames,
            last_step=last_step,
            episodes_per_slice=episodes_per_slice,
            exclude=exclude,
            keep_merged=keep_merged,
            workers=workers,
            threads=threads,
            max_dead_ratio=max_dead_ratio,
            retry_dead_letters=retry_dead_letters,
            overwrite=overwrite,
            slices=slices,
            dry_run=dry_run,
            profile=profile,
            beam_args=context.args,
            command=command_line(),
            show=show,
        )

    console.show_job(guarded_job(run, json), json, encoder)


def score(
    context: typer.Context,
    store: StorePath,
    encoder: EncoderName,
    goals: Goals,
    no_embed: NoEmbed = False,
    name: Name = "v1",
    camera: EmbeddedCameras = None,
    reward: Reward = "softmax-threshold",
    temperature: Temperature = None,
    threshold: Threshold = None,
    alpha: Alpha = None,
    window: Window = None,
    set: Settings = None,
    head: Head = None,
    labels: HeadLabels = None,
    timing: TimingOption = Timing.NEXT_FRAME,
    fuse: Fuse = Fusion.MEAN,
    skip_blank_cameras: SkipBlank = False,
    scores: Scores = True,
    null_prompt: NullPrompts = None,
    truncate_texts: TruncateTexts = False,
    device: Device = "cpu",
    precision: Precision = "auto",
    preprocess: Preprocess = None,
    workers: Workers = 1,
    threads: Threads = None,
    max_dead_ratio: MaxDead = 0.0,
    overwrite: Overwrite = False,
    slices: Slices = None,
    trust: Trust = False,
    dry_run: DryRun = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Compute rewards for other goals from the stored embeddings. The source is not read."""

    def run(show: console.Show) -> JobReport:
        from vlm_relabel import jobs

        return jobs.score(
            store=store,
            encoder=encoder,
            goals=goals,
            no_embed=no_embed,
            name=name,
            camera=camera,
            reward=reward,
            temperature=temperature,
            threshold=threshold,
            alpha=alpha,
            window=window,
            set=set,
            head=head,
            labels=labels,
            timing=timing,
            fuse=fuse,
            skip_blank_cameras=skip_blank_cameras,
            scores=scores,
            null_prompt=null_prompt,
            truncate_texts=truncate_texts,
            device=device,
            precision=precision,
            preprocess=preprocess,
            workers=workers,
            threads=threads,
            max_dead_ratio=max_dead_ratio,
            overwrite=overwrite,
            slices=slices,
            trust=trust,
            dry_run=dry_run,
            profile=profile,
            beam_args=context.args,
            command=command_line(),
            show=show,
        )

    console.show_job(guarded_job(run, json), json, encoder)
