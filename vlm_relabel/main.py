"""The command line: each subcommand is `parse → run`; heavy imports wait for the run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from schemas.enums import Fusion, Timing
from vlm_relabel import agent_commands, console, goals_command, interruption, redaction
from vlm_relabel.arguments import (
    PASS_THROUGH,
    DryRun,
    Json,
    Overwrite,
    Threads,
    Workers,
)
from vlm_relabel.guard import guarded
from vlm_relabel.usage import Command, Program

app = typer.Typer(
    name="vlm-relabel",
    no_args_is_help=True,
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # with rich, --help takes two thirds longer
    pretty_exceptions_enable=False,
    help="Rewards for any goal you can say in words, on stored trajectories.\n\n"
    "A typical session: inspect a source, relabel it into a store, verify the "
    "store, then score it again for other goals, which reads no frame.",
)

Source = Annotated[str, typer.Option(help="TFDS/RLDS directory, the one with features.json.")]
Split = Annotated[
    str | None,
    typer.Option(
        help="Split of the source, or part of it: train, 'train[:10%]', 'train[5:100]', all; "
        "default: what the store holds, or train."
    ),
]
StorePath = Annotated[str, typer.Option("--store", help="Directory or URL (s3://, gs://).")]
_CAMERAS = typer.Option("--camera", help="Image feature, as inspect lists it; repeat for several.")
_ENCODER = typer.Option(
    "--encoder",
    help="open_clip model: NAME:PRETRAINED_TAG, NAME:/path/to/checkpoint or local-dir:/path.",
)
Cameras = Annotated[list[str], _CAMERAS]
OptionalCameras = Annotated[list[str] | None, _CAMERAS]
EncoderName = Annotated[str, _ENCODER]
OptionalEncoder = Annotated[str | None, _ENCODER]
NoFrames = Annotated[
    bool, typer.Option("--no-frames", help="Without --camera and --encoder: steps and episodes.")
]
Goals = Annotated[
    list[str],
    typer.Option(
        help="Goals file (YAML or JSON), field:NAME to mine a text field of the source, or the "
        "text of a goal; repeat for several texts."
    ),
]
Name = Annotated[str, typer.Option(help="Name of the reward set in the store.")]
Reward = Annotated[
    str,
    typer.Option(
        help="softmax-threshold, probability, cosine, goal-baseline, vlm-rm or sigmoid; wrappers "
        "go in front: potential-difference/window-mean/probability."
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(help="Softmax temperature; default 1/logit_scale of the encoder."),
]
Threshold = Annotated[float | None, typer.Option(help="Reward is 1 above this score; default 0.5.")]
Alpha = Annotated[
    float | None, typer.Option(help="Of goal-baseline and vlm-rm: 0 to 1, default 0.5.")
]
Window = Annotated[int | None, typer.Option(help="Of window-mean: how many frames.")]
TimingOption = Annotated[
    Timing,
    typer.Option(
        metavar="FRAME", help="That the reward of an action looks at: next-frame or same-frame."
    ),
]
Fuse = Annotated[
    Fusion, typer.Option(metavar="HOW", help="Scores of several cameras become one: mean or max.")
]
SkipBlank = Annotated[
    bool,
    typer.Option(
        "--skip-blank-cameras",
        help="A camera counts only where it has an image of more than one colour. Empty images "
        "are accepted.",
    ),
]
Scores = Annotated[
    bool, typer.Option(" /--no-scores", help="Leave the raw score out.", show_default=False)
]
NullPrompts = Annotated[
    list[str] | None,
    typer.Option(
        "--null-prompt",
        help="Caption of a frame that shows none of the goals, for mined goals and for texts.",
    ),
]
TruncateTexts = Annotated[
    bool,
    typer.Option("--truncate-texts", help="Cut texts longer than the model reads; else an error."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto. Never a fallback.")]
Precision = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16; auto asks the hardware.")
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Of NAME:/path/to/checkpoint: TAG, openai, imagenet or siglip."
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, metavar="N", help="Frames per forward pass.")]
DecodeThreads = Annotated[
    int, typer.Option(min=1, metavar="N", help="Threads that decode images, per worker.")
]
Dtype = Annotated[str, typer.Option(help="Embeddings as stored: float16 or float32.")]
KeepFrames = Annotated[
    bool, typer.Option("--keep-frames", help="Keep the encoded images in the steps table.")
]
LastStepOption = Annotated[
    str,
    typer.Option(help="final-observation, carries-action, or auto: look and say why."),
]
PerSlice = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Episodes per slice; default from the stored size."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Features to leave out, by dotted name: 'observation.depth*'. Repeat for several.",
    ),
]
KeepMerged = Annotated[
    bool,
    typer.Option("--keep-merged", help="A record of several episodes stays one; else it is split."),
]
Profile = Annotated[
    bool, typer.Option("--profile", help="Say where the time went; also STORE/profile.json.")
]
MaxDead = Annotated[
    float, typer.Option(min=0, max=1, metavar="SHARE", help="Of records that may be dead letters.")
]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"vlm-relabel {version('vlm-relabel')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """What comes before a subcommand."""


@app.command(cls=Command)
def inspect(
    source: Annotated[str, typer.Argument(help="TFDS/RLDS directory.")],
    exclude: Exclude = None,
    keep_merged: KeepMerged = False,
    json: Json = False,
) -> None:
    """Show what a source holds, and the command to type next. Exit code 2 if it cannot be read."""
    from relabel.inspection import inspect_source
    from vlm_relabel.source_console import show_source

    report = guarded(
        lambda: inspect_source(source, exclude=exclude or (), keep_merged=keep_merged), json
    )
    show_source(report, json)
    if report.error is not None:
        raise typer.Exit(2)


@app.command(cls=Command, context_settings=PASS_THROUGH)
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
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Source and goals in, embeddings and rewards out. A rerun does only what is missing.

    Beam options go after `--`, such as `-- --runner FlinkRunner --flink_master host:8081`.
    """
    from vlm_relabel import commands

    values = dict(locals())
    report = guarded(lambda: commands.relabel(values), json)
    console.show_job(report, json, encoder)


@app.command(cls=Command, context_settings=PASS_THROUGH)
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
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Embed every frame once: the only step that reads images. Adds an encoder to a store.

    With --no-frames the store gets steps and episodes alone, for build-goals --no-rewards.
    """
    from vlm_relabel import commands

    values = dict(locals())
    report = guarded(lambda: commands.embed(values), json)
    console.show_job(report, json, encoder)


@app.command(cls=Command, context_settings=PASS_THROUGH)
def score(
    context: typer.Context,
    store: StorePath,
    encoder: EncoderName,
    goals: Goals,
    name: Name = "v1",
    camera: Annotated[
        list[str] | None, typer.Option(help="Embedded camera; default all. Repeat for several.")
    ] = None,
    reward: Reward = "softmax-threshold",
    temperature: Temperature = None,
    threshold: Threshold = None,
    alpha: Alpha = None,
    window: Window = None,
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
    dry_run: DryRun = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Rewards for other goals from stored embeddings. Reads no frame, needs no source."""
    from vlm_relabel import commands

    values = dict(locals())
    report = guarded(lambda: commands.score(values), json)
    console.show_job(report, json, encoder)


@app.command(cls=Command)
def verify(
    store: Annotated[str, typer.Argument(help="Store to check.")], json: Json = False
) -> None:
    """Check every manifest, hash, row count, join and range. Exit code 1 if anything is wrong."""
    from schemas.store import Store
    from schemas.verify import verify_store

    results = guarded(lambda: console.collect(verify_store(Store.open(store)), json), json)
    console.show_verification(store, results, json)
    if any(problems for _, problems in results):
        raise typer.Exit(1)
    if not json:
        from vlm_relabel.next_steps import after_verify

        console.show_next(after_verify(Store.open(store)))


@app.command(cls=Command)
def doctor(json: Json = False) -> None:
    """Check Python, packages, hardware and paths. Exit code 1 if something does not work."""
    from vlm_relabel.doctor import examine

    report = guarded(examine, json)
    console.show_doctor(report, json)
    if not report.ok:
        raise typer.Exit(1)


app.command("build-goals", cls=Command, context_settings=PASS_THROUGH)(goals_command.build_goals)
app.command("train", cls=Command)(agent_commands.train)
app.command("evaluate", cls=Command)(agent_commands.evaluate)
app.command("export-agent", cls=Command)(agent_commands.export_agent)


def main() -> None:
    """Entry point of `vlm-relabel`."""
    interruption.listen()
    redaction.log_errors()
    try:
        app(prog_name="vlm-relabel", args=sys.argv[1:])
    except Exception as error:
        sys.exit(redaction.show_unexpected(error))
    finally:
        interruption.ignore()


if __name__ == "__main__":
    main()
