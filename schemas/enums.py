"""The choices that decide what a stored number means; each is recorded, never guessed.

The first three refer to one time line: frame `o_t` is seen, action `a_t` is taken, frame
`o_{t+1}` is its outcome.

    o_0 --a_0--> o_1 --a_1--> o_2 --a_2--> ... --> o_{T-1}
"""

from __future__ import annotations

from enum import StrEnum


class Timing(StrEnum):
    """Which frame the reward of action `a_t` looks at."""

    NEXT_FRAME = "next-frame"  # o_{t+1}, the outcome of a_t; the last frame has no reward
    SAME_FRAME = "same-frame"  # o_t, what was seen before a_t; every frame has a reward


class LastStep(StrEnum):
    """What the last step of a stored episode is."""

    FINAL_OBSERVATION = "final-observation"  # only o_{T-1}; its action and reward mean nothing
    CARRIES_ACTION = "carries-action"  # a_{T-1} was taken, its outcome was not stored


class Fusion(StrEnum):
    """How the scores of several cameras on one frame become one score."""

    MEAN = "mean"  # every camera counts the same
    MAX = "max"  # the camera that sees the goal best decides


# --- of sources


class CameraForm(StrEnum):
    """How a source stores the frames of a camera; a tensor is uint8, or floats in [0, 1]."""

    IMAGE = "image"  # an Image feature of 8 bits a channel
    ENCODED = "encoded"  # a string that is a JPEG, PNG or WebP file
    PIXELS = "pixels"  # a tensor (H, W) or (H, W, 1|3|4)
    CHANNELS_FIRST = "channels-first"  # a tensor (1|3|4, H, W)
    STACK = "stack"  # a tensor (k, H, W) or (k, H, W, 1|3|4); the newest frame is the last
    STACK_LAST = "stack-last"  # a tensor (H, W, k) of grey frames; the newest is the last
    FRAMES = "frames"  # of an episode: JPEG, PNG or WebP files, one per step
    VIDEO = "video"  # of an episode: a string that is a video file of one frame per step


# --- of goal datasets


class Kind(StrEnum):
    """Why an (episode, goal) pair is in the dataset."""

    ACHIEVED = "achieved"  # reached in the episode, which ends at its first success
    FAILED = "failed"  # sampled among the goals that the episode never reaches
    COMMANDED = "commanded"  # what the episode was told to do while it was told so, reached or not
    HINDSIGHT = "hindsight"  # reached again later: from the end of one success to the next


class Split(StrEnum):
    """Part of the data that an episode belongs to, for good."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
