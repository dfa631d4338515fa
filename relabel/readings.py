"""What an encoder makes of a goal set: embeddings of its prompts, and which are alike to it.

Tokenizers drop case, quotes, accents or signs, each others, so whether two texts differ is for
the encoder to say. Two prompts are alike if their embeddings are no further apart than
`SAME_DISTANCE`, or if they say the same to people. Alike is made transitive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.prompts import Alike, Prompt, Prompts, goal_prompts, resolve_prompts
from schemas.errors import EncoderError, GoalError
from schemas.goals import GoalSet
from schemas.texts import brief

# Between unit vectors. The same tokens come out within 1e-6 in float32, whatever the batch. A
# cosine moves by no more than this distance: at a temperature of 0.01 by 0.1 in the exponent.
SAME_DISTANCE: Final = 1e-3
_ROWS: Final = 4096  # compared at a time
_LONG_SHOWN: Final = 100  # texts in an error

EncodeTexts = Callable[[Sequence[str]], NDArray[np.floating]]
LongTexts = Callable[[Sequence[str]], dict[int, str]]


class Readings:
    """Embeddings of every prompt that a goal set can be scored with.

    Args:
        goals: a checked goal set.
        encode_texts: text tower of the encoder, n strings -> (n, D), any norm. Called once,
            with each distinct string once.

    Raises:
        EncoderError: the encoder gave another shape, or an embedding without a direction.
    """

    def __init__(self, goals: GoalSet, encode_texts: EncodeTexts) -> None:
        self._prompts = list(goal_prompts(goals))
        strings = list(dict.fromkeys(t for prompt in self._prompts for t in prompt.texts))
        embedded = np.asarray(encode_texts(strings), dtype=np.float64)
        if embedded.ndim != 2 or len(embedded) != len(strings):
            raise EncoderError(
                f"text encoder: expected embeddings of shape ({len(strings)}, D), "
                f"got {embedded.shape}"
            )
        self._index = {text: place for place, text in enumerate(strings)}
        self._single = _unit(embedded, strings)[0]

    def means(
        self, prompts: Sequence[Sequence[str]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings of prompts: strings embedded, normalised, averaged, normalised again.

        The ensembling of Radford et al. 2021 (arXiv 2103.00020, section 3.1.4).

        Args:
            prompts: P of them, each its strings.

        Returns:
            (P, D) float32 of unit norm, and (P,) float32, the norms of the averages.

        Raises:
            EncoderError: an average without a direction.
        """
        places = [[self._index[text] for text in texts] for texts in prompts]
        means = np.stack([self._single[own].mean(axis=0) for own in places])
        unit, norms = _unit(means, [" + ".join(texts) for texts in prompts])
        return unit.astype(np.float32), norms.astype(np.float32)

    def alike(self) -> Alike:
        """Which prompts of the goal set are alike: a number for each, equal for those that are."""
        unit, _ = self.means([prompt.texts for prompt in self._prompts])
        return same_groups(self._prompts, unit)


def same_groups(prompts: Sequence[Prompt], unit: NDArray[np.floating]) -> dict[Prompt, int]:
    """Numbers prompts so that those that are alike have one number.

    Args:
        prompts: P distinct ones.
        unit: (P, D) their embeddings, unit norm.
    """
    parent = list(range(len(prompts)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    first: dict[object, int] = {}
    said = [(place, first.setdefault(p.said, place)) for place, p in enumerate(prompts)]
    for one, other in (*said, *close_pairs(unit)):
        parent[root(one)] = root(other)
    return {prompt: root(place) for place, prompt in enumerate(prompts)}


def close_pairs(vectors: NDArray[np.floating]) -> Iterator[tuple[int, int]]:
    """Pairs of rows that connect all rows no further apart than `SAME_DISTANCE`.

    Rows are laid out along one direction, where close rows are close, so that most pairs are
    never compared. Of equal rows, the first stands for all.

    Args:
        vectors: (n, D).
    """
    distinct, first, inverse = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    yield from ((int(first[own]), row) for row, own in enumerate(inverse.reshape(-1)))
    distinct = distinct.astype(np.float64)
    direction = np.random.default_rng(0).standard_normal(vectors.shape[1])
    along = distinct @ (direction / np.linalg.norm(direction))
    order = np.argsort(along, kind="stable")
    for shift in range(1, len(order)):
        reach = along[order[shift:]] - along[order[:-shift]]
        near = np.flatnonzero(reach <= SAME_DISTANCE + 1e-12)  # rounding of the products
        if not near.size:
            return
        for start in range(0, near.size, _ROWS):
            some = near[start : start + _ROWS]
            left, right = order[some], order[some + shift]
            apart = np.linalg.norm(distinct[left] - distinct[right], axis=1)
            close = apart <= SAME_DISTANCE
            yield from zip(first[left[close]].tolist(), first[right[close]].tolist(), strict=True)


def read_prompts(
    goals: GoalSet, encode_texts: EncodeTexts
) -> tuple[Prompts, NDArray[np.float32], NDArray[np.float32]]:
    """A goal set's prompts as an encoder reads them.

    Args:
        goals: a checked goal set.
        encode_texts: as `Readings` takes it.

    Returns:
        The prompts, their (P, D) unit-norm embeddings and the (P,) norms of the averages that
        these are made of.

    Raises:
        EncoderError: as `Readings`.
    """
    readings = Readings(goals, encode_texts)
    prompts = resolve_prompts(goals, readings.alike())
    return prompts, *readings.means(prompts.texts)


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
