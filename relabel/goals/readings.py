"""What an encoder makes of a goal set: embeddings of its prompts, and which are alike to it.

Tokenizers drop case, quotes, accents or signs, each others, so whether two texts differ is for
the encoder to say. Two prompts are alike if their embeddings are no further apart than
`SAME_DISTANCE`, or if they say the same to people. Alike is made transitive.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.goals.prompts import (
    Alike,
    Prompt,
    Prompts,
    frame_text,
    goal_prompts,
    resolve_prompts,
)
from schemas.errors import EncoderError, GoalError
from schemas.goals import Frame, GoalSet
from schemas.texts import brief

# Between unit vectors. The same tokens come out within 1e-6 in float32, whatever the batch. A
# cosine moves by no more than this distance: at a temperature of 0.01 by 0.1 in the exponent.
SAME_DISTANCE: Final = 1e-3
_ROUNDING: Final = 3e-6  # of a cosine of float32 vectors whose norms are rounded as well
_ROWS: Final = 512  # compared with all others at a time
_PAIRS: Final = 4096  # measured exactly at a time
_LONG_SHOWN: Final = 100  # texts in an error

EncodeTexts = Callable[[Sequence[str]], NDArray[np.floating]]
FrameVectors = Mapping[Frame, NDArray[np.floating]]
LongTexts = Callable[[Sequence[str]], dict[int, str]]


class Readings:
    """Embeddings of every prompt that a goal set can be scored with.

    Args:
        goals: a checked goal set.
        encode_texts: text tower of the encoder, n strings -> (n, D), any norm. Called once,
            with each distinct string once.
        frames: (D,) of each example frame, of unit norm, by the same encoder.

    Raises:
        EncoderError: the encoder gave another shape, or an embedding without a direction.
        GoalError: an example whose frame is not given.
    """

    def __init__(
        self, goals: GoalSet, encode_texts: EncodeTexts, frames: FrameVectors | None = None
    ) -> None:
        self._prompts = list(goal_prompts(goals))
        self._frames = {} if frames is None else frames
        _check_frames(goals, self._frames)
        strings = list(dict.fromkeys(t for prompt in self._prompts for t in prompt.texts))
        given = encode_texts(strings) if strings else np.zeros((0, 0), np.float32)
        embedded = np.asarray(given, dtype=np.float64)
        if embedded.ndim != 2 or len(embedded) != len(strings):
            raise EncoderError(
                f"text encoder: expected embeddings of shape ({len(strings)}, D), "
                f"got {embedded.shape}"
            )
        self.strings = tuple(strings)
        self.embeddings = np.asarray(given, dtype=np.float32)  # (n, D), of the strings, as given
        self._index = {text: place for place, text in enumerate(strings)}
        self._single = _unit(embedded, strings)[0]

    def means(
        self, prompts: Sequence[Sequence[str]], examples: Sequence[Sequence[Frame]] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings of prompts: strings embedded, normalised, averaged, normalised again.

        The ensembling of Radford et al. 2021 (arXiv 2103.00020, section 3.1.4). Frames are averaged
        likewise. Of a prompt with both, strings together weigh as much as frames together, however
        many there are: its average is that of the two normalised averages.

        Args:
            prompts: P of them, each its strings.
            examples: P, of each its frames; (): none has any.

        Returns:
            (P, D) float32 of unit norm, and (P,) float32, the norms of the averages.

        Raises:
            EncoderError: an average without a direction.
        """
        frames = examples or ((),) * len(prompts)
        pairs = list(zip(prompts, frames, strict=True))
        means = np.stack([self._mean(texts, own) for texts, own in pairs])
        names = [" + ".join([*texts, *map(frame_text, own)]) for texts, own in pairs]
        unit, norms = _unit(means, names)
        return unit.astype(np.float32), norms.astype(np.float32)

    def _mean(self, texts: Sequence[str], frames: Sequence[Frame]) -> NDArray[np.float64]:
        """(D,) of one prompt, of any norm."""
        parts = []
        if texts:
            parts.append(self._single[[self._index[text] for text in texts]].mean(axis=0))
        if frames:
            vectors = np.stack([self._frames[frame] for frame in frames]).astype(np.float64)
            names = [frame_text(frame) for frame in frames]
            parts.append(_unit(vectors, names)[0].mean(axis=0))
        if len(parts) == 1:
            return np.asarray(parts[0])
        return np.asarray(_unit(np.stack(parts), ["its texts", "its examples"])[0].mean(axis=0))

    def alike(self) -> Alike:
        """Which prompts of the goal set are alike: a number for each, equal for those that are."""
        texts = [prompt.texts for prompt in self._prompts]
        unit, _ = self.means(texts, [prompt.examples for prompt in self._prompts])
        return same_groups(self._prompts, unit)


def same_groups(prompts: Sequence[Prompt], unit: NDArray[np.floating]) -> dict[Prompt, int]:
    """Numbers prompts so that those that are alike have one number.

    Args:
        prompts: P distinct ones.
        unit: (P, D) their embeddings, unit norm.
    """
    first: dict[Hashable, int] = {}
    said = [(place, first.setdefault(p.said, place)) for place, p in enumerate(prompts)]
    pairs = np.concatenate([np.array(said, np.int64).reshape(-1, 2), *close_pairs(unit)])
    return dict(zip(prompts, connected(pairs, len(prompts)).tolist(), strict=True))


def connected(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count,) the least place of all that are connected with each one, itself included.

    Args:
        pairs: (n, 2) of places, in any order.
        count: of places.
    """
    least = np.arange(count)
    while True:
        before = least.copy()
        lower = least[pairs].min(axis=1)
        np.minimum.at(least, pairs[:, 0], lower)
        np.minimum.at(least, pairs[:, 1], lower)
        least = least[least]  # what the lower one has reached meanwhile
        if np.array_equal(before, least):
            return least


def close_pairs(unit: NDArray[np.floating]) -> Iterator[NDArray[np.int64]]:
    """(n, 2) pairs of rows, which together connect all that are no further apart than the limit.

    Of equal rows, the first stands for all. Of the others every two are compared, roughly by
    float32 cosines and then exactly, if they may be close.

    Args:
        unit: (P, D) of unit norm.
    """
    rows, first, inverse = np.unique(unit, axis=0, return_index=True, return_inverse=True)
    yield np.stack([first[inverse.reshape(-1)], np.arange(len(unit))], axis=1)
    rough, exact = rows.astype(np.float32), rows.astype(np.float64)
    for start in range(0, len(rows), _ROWS):
        cosines = rough[start : start + _ROWS] @ rough[start:].T
        left, right = np.nonzero(cosines > 1 - SAME_DISTANCE**2 / 2 - _ROUNDING)
        left, right = left[left < right] + start, right[left < right] + start
        for part in range(0, len(left), _PAIRS):
            one, other = left[part : part + _PAIRS], right[part : part + _PAIRS]
            close = np.linalg.norm(exact[one] - exact[other], axis=1) <= SAME_DISTANCE
            yield np.stack([first[one[close]], first[other[close]]], axis=1)


def _check_frames(goals: GoalSet, frames: FrameVectors) -> None:
    """Refuses examples of which nothing is known."""
    missing = [
        (goal.id, example.frame)
        for goal in goals.goals
        for example in goal.examples
        if example.frame not in frames
    ]
    if missing:
        goal_id, frame = missing[0]
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GoalError(
            f"goal {goal_id}: its example {frame_text(frame)} is a frame of a store, and there "
            f"is no embedding of it here{more}; goals with examples are scored in the store that "
            "has their frames, and RewardModel.of_store takes them from there"
        )


def read_prompts(
    goals: GoalSet, encode_texts: EncodeTexts, frames: FrameVectors | None = None
) -> tuple[Prompts, NDArray[np.float32], NDArray[np.float32]]:
    """A goal set's prompts as an encoder reads them.

    Args:
        goals: a checked goal set.
        encode_texts: as `Readings` takes it.
        frames: likewise.

    Returns:
        The prompts, their (P, D) unit-norm embeddings and the (P,) norms of the averages that
        these are made of.

    Raises:
        EncoderError: as `Readings`.
        GoalError: likewise.
    """
    readings = Readings(goals, encode_texts, frames)
    prompts = resolve_prompts(goals, readings.alike())
    return prompts, *readings.means(prompts.texts, prompts.examples)


def check_lengths(goals: GoalSet, long_texts: LongTexts) -> None:
    """Refuses texts that the encoder would not read to the end, all of them at once.

    Args:
        goals: a checked goal set.
        long_texts: of the encoder: places of texts that are too long, and why.

    Raises:
        GoalError: names the goal of every such text.
    """
    owned = [
        (owner, prompt.phrasings[0], text)
        for prompt, owner in goal_prompts(goals).items()
        if len(prompt.phrasings) == 1
        for text in prompt.texts
    ]
    long = long_texts([text for _, _, text in owned])
    lines: dict[tuple[str, str], str] = {}
    for place, why in sorted(long.items()):
        owner, phrasing, _ = owned[place]
        lines.setdefault((owner, phrasing), f"{owner}: “{brief(phrasing)}”: {why}")
    if lines:
        shown = [*lines.values()][:_LONG_SHOWN]
        more = [f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
        raise GoalError(
            f"{len(lines)} text{'s are' if len(lines) > 1 else ' is'} longer than the encoder "
            "reads:\n  " + "\n  ".join([*shown, *more]) + "\nshorten them, or cut such texts "
            "with --truncate-texts"
        )


def _unit(
    vectors: NDArray[np.float64], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows of unit norm, and the norms before."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if bad.size:
        raise EncoderError(
            f"text encoder: expected embeddings of finite, positive norm, got norm "
            f"{norms[bad[0], 0]} for “{brief(names[bad[0]])}” ({bad.size} of {len(names)} "
            "prompts); the weights are likely broken or the precision too low"
        )
    return np.asarray(vectors / norms), norms[:, 0]
