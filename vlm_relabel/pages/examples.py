"""Frames worth a look: the highest, the lowest, those near the threshold; few of an episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FrameExample:
    """One frame of one goal."""

    episode: int  # place in the store
    step: int
    score: float
    label: bool | None = None  # whether the goal is true there; None: not known


@dataclass(frozen=True, eq=False)
class Frames:
    """n frames with the scores of one goal."""

    episode: Ints  # (n,) places
    step: Ints  # (n,)
    score: NDArray[np.float32]  # (n,) finite
    label: NDArray[np.bool_] | None = None  # (n,); None: not known

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Frames:
        """Some of them."""
        label = None if self.label is None else self.label[rows]
        return Frames(self.episode[rows], self.step[rows], self.score[rows], label)

    def first(self, by: NDArray[np.floating], most: int, per_episode: int) -> Frames:
        """The frames with the least of `by` (n,), at most so many of one episode; ties by place."""
        order = np.lexsort((self.step, self.episode, by))
        turn = _turns(self.episode[order])
        return self.take(order[turn < per_episode][:most])

    def joined(self, other: Frames) -> Frames:
        """Both; of neither is the label known."""
        return Frames(
            np.append(self.episode, other.episode),
            np.append(self.step, other.step),
            np.append(self.score, other.score),
        )

    def __iter__(self) -> Iterator[FrameExample]:
        labels = [None] * len(self.score) if self.label is None else self.label.tolist()
        columns = (self.episode.tolist(), self.step.tolist(), self.score.tolist(), labels)
        yield from (FrameExample(*values) for values in zip(*columns, strict=True))


def _turns(values: Ints) -> Ints:
    """(n,) how many equal values come before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(values)))
    turns = np.empty(len(values), np.int64)
    turns[order] = np.arange(len(values)) - np.repeat(starts, sizes)
    return turns


def nothing() -> Frames:
    """No frame."""
    none = np.zeros(0, np.int64)
    return Frames(none, none, np.zeros(0, np.float32))


def known_examples(
    frames: Frames, threshold: float | None, most: int, per_episode: int
) -> dict[str, list[FrameExample]]:
    """Of frames whose labels are known: what is right, and what is not.

    Returns:
        By kind: true frames with the highest scores, and with the lowest; frames that are not
        true with the highest; those nearest to the threshold.
    """
    if frames.label is None:
        raise ValueError("expected labels")
    true, false = frames.take(frames.label), frames.take(~frames.label)
    found = {
        "true-high": true.first(-true.score, most, per_episode),
        "true-low": true.first(true.score, most, per_episode),
        "false-high": false.first(-false.score, most, per_episode),
    }
    if threshold is not None:
        found["near"] = frames.first(np.abs(frames.score - threshold), most, per_episode)
    return {kind: list(own) for kind, own in found.items()}


@dataclass
class Extremes:
    """The highest, the lowest and the nearest frames of one goal, of frames that come in parts."""

    threshold: float | None
    most: int
    per_episode: int
    kept: dict[str, Frames] = field(default_factory=dict)

    def add(self, frames: Frames) -> None:
        """Looks at some more frames; an episode's all come together or one after the other."""
        for kind in ("high", "low", *(() if self.threshold is None else ("near",))):
            together = self.kept.get(kind, nothing()).joined(frames)
            score = together.score
            by = {"high": -score, "low": score}
            near = np.abs(score - (self.threshold or 0.0))
            self.kept[kind] = together.first(by.get(kind, near), self.most, self.per_episode)

    @property
    def examples(self) -> dict[str, list[FrameExample]]:
        """What was found, by kind."""
        return {kind: list(frames) for kind, frames in self.kept.items()}
