"""Options of `embed`, `score` and `relabel`, and of `inspect`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from schemas.enums import Fusion, Timing

# --- the source -------------------------------------------------------------------------------

Directory = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="Directory of a TFDS dataset in RLDS form: the one that holds features.json.",
    ),
]
Source = Annotated[
    str,
    typer.Option(
        metavar="DIR",
        help="Directory of a TFDS dataset in RLDS form: the one that holds features.json.",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT",
        help="Split of the source to read, or a part of one: train, 'train[:10%]', "
        "'train[5:100]' or all. The default is what the store holds already, or "
        "else train.",
    ),
]
_CAMERAS = typer.Option(
    "--camera",
    metavar="NAME",
    help="Camera whose frames are embedded, by the name that inspect shows. Repeat "
    "the option for several cameras.",
)
Cameras = Annotated[list[str], _CAMERAS]
OptionalCameras = Annotated[list[str] | None, _CAMERAS]
EmbeddedCameras = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="NAME",
        help="Camera whose embeddings are scored. Repeat the option for several "
        "cameras. The default is every embedded camera.",
    ),
]
NoFrames = Annotated[
    bool,
    typer.Option(
        "--no-frames",
        help="Write only the steps and the episodes. Neither --camera nor --encoder is needed.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Features to leave out, as a pattern of dotted names such as "
        "'observation.depth*'. Repeat the option for several patterns.",
    ),
]
KeepMerged = Annotated[
    bool,
    typer.Option(
        "--keep-merged",
        help="Keep a record that holds several episodes as one episode. By default it "
        "is split into them.",
    ),
]
KeepFrames = Annotated[
    bool,
    typer.Option(
        "--keep-frames", help="Also keep the encoded images, as columns of the steps table."
    ),
]
LastStepOption = Annotated[
    Literal["auto", "final-observation", "carries-action"],
    typer.Option(
        parser=str,
        metavar="MEANING",
        help="What the last step of an episode means: final-observation (nothing is "
        "done in it), carries-action (its action was taken), or auto, which "
        "decides by looking at some episodes and says what it found.",
    ),
]
PerSlice = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of episodes in a slice. By default it follows from their size in the source.",
    ),
]

# --- the store and the encoder ----------------------------------------------------------------

StorePath = Annotated[
    str,
    typer.Option(
        "--store", metavar="STORE", help="Folder of the store, or its URL (s3://, gs://)."
    ),
]
_ENCODER = typer.Option(
    "--encoder",
    metavar="ENCODER",
    help="Encoder to use. A model of open_clip is NAME:PRETRAINED_TAG, "
    "NAME:/path/to/checkpoint or local-dir:/path; an encoder of your own is "
    "MODULE:FACTORY or 'MODULE:FACTORY(width=4)'.",
)
EncoderName = Annotated[str, _ENCODER]
OptionalEncoder = Annotated[str | None, _ENCODER]
NoEmbed = Annotated[
    bool,
    typer.Option(
        "--no-embed",
        help="Load no encoder, and take the embeddings of texts that the store keeps from earlier "
        "goals. --encoder then names the encoder of the stored embeddings.",
    ),
]
TruncateTexts = Annotated[
    bool,
    typer.Option(
        "--truncate-texts",
        help="Cut texts that are longer than the encoder can read. By default, such a "
        "text is an error.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Device that the encoder runs on: cpu, cuda, cuda:N, mps or auto. A device "
        "that is missing is an error.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="TYPE",
        help="Number type that the encoder computes with: float32, bfloat16, float16, "
        "or auto, which chooses by the device.",
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Preprocessing that a checkpoint file was trained with, where nothing else "
        "says it: that of a pretrained tag, or openai, imagenet or siglip.",
    ),
]
BatchSize = Annotated[
    int, typer.Option(min=1, metavar="N", help="Number of frames that the encoder embeds at once.")
]
DecodeThreads = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Number of threads in each worker that decode images."),
]
Dtype = Annotated[
    Literal["float16", "float32"],
    typer.Option(
        parser=str,
        metavar="TYPE",
        help="Number type in which embeddings are stored: float16 or float32.",
    ),
]

# --- goals and rewards ------------------------------------------------------------------------

_GOALS = typer.Option(
    "--goals",
    metavar="GOALS",
    help="Where the goals come from: a goals file (YAML or JSON), or field:NAME for "
    "one goal per text in a field of the source, or the text of a goal. Repeat "
    "the option for several texts.",
)
Goals = Annotated[list[str], _GOALS]
OptionalGoals = Annotated[list[str] | None, _GOALS]
NullPrompts = Annotated[
    list[str] | None,
    typer.Option(
        "--null-prompt",
        metavar="TEXT",
        help="Caption of a frame in which none of the goals is reached, for goals that "
        "are not in a file. Repeat the option for several captions.",
    ),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the reward set in the store.")]
Reward = Annotated[
    str,
    typer.Option(
        metavar="REWARD",
        help="Reward function: softmax-threshold, probability, cosine, goal-baseline, vlm-rm or "
        "sigmoid. Wrappers go in front, as in potential-difference/window-mean/probability. "
        "A class of your own is my_module:MyReward.",
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
    typer.Option(
        metavar="SCORE",
        help="Score above which the reward is 1; at or below it, the reward is 0. The "
        "default is 0.5.",
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Weight of the projection onto the line through baseline and goal, in "
        "goal-baseline and vlm-rm, from 0 to 1. The default is 0.5.",
    ),
]
Window = Annotated[
    int | None, typer.Option(metavar="N", help="Number of frames that window-mean averages.")
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
Head = Annotated[
    Literal["auto", "cached", "linear"] | None,
    typer.Option(
        parser=str,
        metavar="KIND",
        help="Correct the scores of goals by a head that learns from --labels: cached compares a "
        "frame with the labelled ones, linear draws a plane between them, and auto takes "
        "whichever does better on labels that it has not seen. A goal on which the head does no "
        "better keeps its score.",
    ),
]
HeadLabels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labelled frames that --head learns from: a CSV or Parquet file with the columns "
        "episode_id, step, goal_id and label.",
    ),
]
TimingOption = Annotated[
    Timing,
    typer.Option(
        metavar="FRAME",
        help="Frame from which the reward of an action is computed: next-frame is the "
        "one that follows the action, same-frame the one at which it was taken.",
    ),
]
Fuse = Annotated[
    Fusion,
    typer.Option(
        metavar="HOW", help="How the scores of several cameras are combined into one: mean or max."
    ),
]
SkipBlank = Annotated[
    bool,
    typer.Option(
        "--skip-blank-cameras",
        help="Ignore a camera in the frames where its image is empty or has only one colour.",
    ),
]
Scores = Annotated[
    bool,
    typer.Option(" /--no-scores", help="Store the rewards without the scores.", show_default=False),
]

# --- the job ----------------------------------------------------------------------------------

Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="Report how much time each stage took, and keep the report in STORE/profile.json.",
    ),
]
MaxDead = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="Share of the records, or of the frames, that may be unreadable. If more "
        "of them are, the job fails.",
    ),
]
Retry = Annotated[
    bool,
    typer.Option(
        "--retry-dead-letters", help="Process the slices that have dead letters once more."
    ),
]
