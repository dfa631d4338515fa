"""Options of `embed`, `score` and `relabel`, and of `inspect`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from schemas.enums import Fusion, Timing

# --- the source -------------------------------------------------------------------------------

Directory = Annotated[
    str,
    typer.Argument(metavar="DIR", help="TFDS directory in RLDS form, the one with features.json."),
]
Source = Annotated[
    str,
    typer.Option(metavar="DIR", help="TFDS directory in RLDS form, the one with features.json."),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT",
        help="Split of the source, or a part of it: train, 'train[:10%]', 'train[5:100]', all. "
        "The default is what the store holds, or train.",
    ),
]
_CAMERAS = typer.Option(
    "--camera",
    metavar="NAME",
    help="Camera, as inspect lists it. Repeat the option for several cameras.",
)
Cameras = Annotated[list[str], _CAMERAS]
OptionalCameras = Annotated[list[str] | None, _CAMERAS]
EmbeddedCameras = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="NAME",
        help="Embedded camera to score by; the default is all. Repeat the option for several.",
    ),
]
NoFrames = Annotated[
    bool,
    typer.Option(
        "--no-frames", help="Write steps and episodes alone, without --camera and --encoder."
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Features to leave out, by dotted name: 'observation.depth*'. Repeat the option for "
        "several patterns.",
    ),
]
KeepMerged = Annotated[
    bool,
    typer.Option(
        "--keep-merged",
        help="Keep a record of several episodes as one episode. The default is to split it.",
    ),
]
KeepFrames = Annotated[
    bool, typer.Option("--keep-frames", help="Keep the encoded images in the steps table.")
]
LastStepOption = Annotated[
    Literal["auto", "final-observation", "carries-action"],
    typer.Option(
        parser=str,
        metavar="MEANING",
        help="What the last step of an episode is: final-observation, carries-action, or auto, "
        "which looks at some episodes and tells what it found.",
    ),
]
PerSlice = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Episodes per slice. The default follows from the stored size."
    ),
]

# --- the store and the encoder ----------------------------------------------------------------

StorePath = Annotated[
    str,
    typer.Option("--store", metavar="STORE", help="Directory of the store, or URL (s3://, gs://)."),
]
_ENCODER = typer.Option(
    "--encoder",
    metavar="ENCODER",
    help="open_clip model: NAME:PRETRAINED_TAG, NAME:/path/to/checkpoint or local-dir:/path; or an "
    "encoder of your own: MODULE:FACTORY or 'MODULE:FACTORY(width=4)'.",
)
EncoderName = Annotated[str, _ENCODER]
OptionalEncoder = Annotated[str | None, _ENCODER]
NoEmbed = Annotated[
    bool,
    typer.Option(
        "--no-embed",
        help="Load no encoder: take the embeddings of texts that the store keeps of earlier goals. "
        "--encoder names the one of the stored embeddings.",
    ),
]
TruncateTexts = Annotated[
    bool,
    typer.Option(
        "--truncate-texts",
        help="Cut texts that are longer than the model reads. The default is an error.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Where the encoder runs: cpu, cuda, cuda:N, mps or auto. A device that is missing is "
        "an error.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="TYPE",
        help="What the encoder computes in: float32, bfloat16, float16, or auto, which looks at "
        "the device.",
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What a checkpoint file was trained with, where nothing tells it: a pretrained tag, "
        "openai, imagenet or siglip.",
    ),
]
BatchSize = Annotated[
    int, typer.Option(min=1, metavar="N", help="Frames that the encoder embeds at once.")
]
DecodeThreads = Annotated[
    int, typer.Option(min=1, metavar="N", help="Threads of each worker that decode images.")
]
Dtype = Annotated[
    Literal["float16", "float32"],
    typer.Option(parser=str, metavar="TYPE", help="How embeddings are stored: float16 or float32."),
]

# --- goals and rewards ------------------------------------------------------------------------

Goals = Annotated[
    list[str],
    typer.Option(
        metavar="GOALS",
        help="Goals file (YAML or JSON), field:NAME to make a goal of each text in a field of the "
        "source, or the text of a goal. Repeat the option for several texts.",
    ),
]
NullPrompts = Annotated[
    list[str] | None,
    typer.Option(
        "--null-prompt",
        metavar="TEXT",
        help="Caption of a frame that shows none of the goals; for goals that come from no file. "
        "Repeat the option for several captions.",
    ),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the reward set in the store.")]
Reward = Annotated[
    str,
    typer.Option(
        metavar="REWARD",
        help="Reward function: softmax-threshold, probability, cosine, goal-baseline, vlm-rm or "
        "sigmoid. Wrappers go in front: potential-difference/window-mean/probability. A class of "
        "your own is my_module:MyReward.",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="T", help="Temperature of the softmax. The default is 1/logit_scale of the encoder."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="SCORE", help="The reward is 1 above this score. The default is 0.5."),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of the projection in goal-baseline and vlm-rm, from 0 to 1; by default 0.5.",
    ),
]
Window = Annotated[
    int | None, typer.Option(metavar="N", help="Frames that window-mean takes the mean of.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any parameter of the reward function, such as logit_bias=-10. Repeat the option for "
        "several parameters.",
    ),
]
TimingOption = Annotated[
    Timing,
    typer.Option(
        metavar="FRAME",
        help="Frame that an action's reward is computed from: next-frame or same-frame.",
    ),
]
Fuse = Annotated[
    Fusion,
    typer.Option(metavar="HOW", help="How the scores of several cameras become one: mean or max."),
]
SkipBlank = Annotated[
    bool,
    typer.Option(
        "--skip-blank-cameras",
        help="Count a camera only where it has an image of more than one colour. Empty images are "
        "accepted then.",
    ),
]
Scores = Annotated[
    bool,
    typer.Option(" /--no-scores", help="Store no scores, only rewards.", show_default=False),
]

# --- the job ----------------------------------------------------------------------------------

Profile = Annotated[
    bool,
    typer.Option("--profile", help="Tell where the time went, and keep it in STORE/profile.json."),
]
MaxDead = Annotated[
    float,
    typer.Option(min=0, max=1, metavar="SHARE", help="Largest share of records that may fail."),
]
Retry = Annotated[
    bool,
    typer.Option("--retry-dead-letters", help="Make slices with dead letters again."),
]
