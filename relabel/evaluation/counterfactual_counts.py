"""Whether frames that a goal claims look more like a counterfactual of it, to the encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from relabel.evaluation.claims import ClaimBlock
from relabel.evaluation.counterfactuals import KINDS, Counterfactual
from relabel.evaluation.evidence import Bools, Floats, Ints
from relabel.goals.readings import SAME_DISTANCE

EncodeTexts = Callable[[Sequence[str]], Floats]
_VALUES: Final = 1 << 22  # cosines held at once


@dataclass(frozen=True, eq=False)
class EmbeddedTexts:
    """The C counterfactuals whose embeddings could be had, goal by goal."""

    items: tuple[Counterfactual, ...]  # C
    embeddings: Floats  # (C, D) unit norm
    goals: Floats  # (G, D) unit norm, of the goals' own texts
    sources: Mapping[str, int]  # how many by where their embeddings come from; "missing" too

    @property
    def alike(self) -> Bools:
        """(C,) those that the encoder does not tell from the goal's own texts."""
        own = self.goals[[one.goal for one in self.items]]
        return np.asarray(np.linalg.norm(self.embeddings - own, axis=1) <= SAME_DISTANCE)


def embedded(
    items: Sequence[Counterfactual],
    goals: Floats,
    stored: Mapping[str, Floats],
    encode_texts: EncodeTexts | None,
) -> EmbeddedTexts:
    """Embeddings of counterfactuals: of other goals, of texts that are stored, of an encoder.

    Args:
        items: goal by goal.
        goals: (G, D) of the goals' own texts.
        stored: embeddings (D,) by text.
        encode_texts: embeds further texts; None: there is no encoder at hand.
    """
    known = dict(stored)
    wanted = [text for one in items if one.same_as is None for text in one.texts]
    missing = [text for text in dict.fromkeys(wanted) if text not in known]
    if missing and encode_texts is not None:
        known.update(zip(missing, encode_texts(missing), strict=True))
    kept, vectors = [], []
    sources = dict.fromkeys(("goals", "stored", "encoder", "missing"), 0)
    for one in items:
        if one.same_as is not None:
            kept.append(one)
            vectors.append(goals[one.same_as])
            sources["goals"] += 1
        elif all(text in known for text in one.texts):
            kept.append(one)
            vectors.append(mean_text([known[text] for text in one.texts]))
            sources["stored" if all(text in stored for text in one.texts) else "encoder"] += 1
        else:
            sources["missing"] += 1
    made = np.array(vectors, np.float32).reshape(len(kept), goals.shape[1])
    return EmbeddedTexts(tuple(kept), made, goals, sources)


def mean_text(vectors: Sequence[Floats]) -> Floats:
    """As a goal's prompt is made of its texts: normalised, averaged, normalised."""
    unit = [vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in vectors]
    mean = np.mean(unit, axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def _fused(cameras: Sequence[Floats]) -> Floats:
    """(n, D) mean of the cameras that have a frame; NaN where none has it."""
    if len(cameras) == 1:
        return cameras[0]
    stacked = np.stack(cameras)
    there = np.asarray(np.isfinite(stacked).all(axis=2))
    total = np.where(there[..., None], stacked, 0).sum(axis=0)
    count = there.sum(axis=0)[:, None]
    return np.asarray(total / np.where(count, count, np.nan), np.float32)


@dataclass(eq=False)
class Preferences:
    """Claimed frames, by kind and goal, and those at which a counterfactual fits better."""

    texts: EmbeddedTexts
    stride: int = 1  # every so manieth frame is looked at
    looked_at: Ints = field(init=False)  # (3, G) frames, in the order of KINDS
    preferred: Ints = field(init=False)  # (3, G)

    def __post_init__(self) -> None:
        goals = len(self.texts.goals)
        self.looked_at = np.zeros((len(KINDS), goals), np.int64)
        self.preferred = np.zeros((len(KINDS), goals), np.int64)
        places = [
            np.array([i for i, one in enumerate(self.texts.items) if one.kind == kind], np.int64)
            for kind in KINDS
        ]
        goal = np.array([one.goal for one in self.texts.items], np.int64)
        self._kinds = [(own, goal[own]) for own in places]

    def add(self, block: ClaimBlock, cameras: Sequence[Floats]) -> None:
        """Looks at the frames of a block.

        Args:
            block: of claims.
            cameras: (n, D) embeddings of its frames, NaN where one is missing.
        """
        frames = _fused(cameras)
        rows = np.arange(len(frames))
        chosen = ((block.row + rows) % self.stride == 0) & block.claimed.any(axis=1)
        rows = rows[chosen & np.isfinite(frames).all(axis=1)]
        size = max(1, _VALUES // max(1, len(self.texts.items)))
        for start in range(0, len(rows), size):
            own = rows[start : start + size]
            self._add(np.asarray(frames[own], np.float32), block.claimed[own])

    def _add(self, frames: Floats, claimed: Bools) -> None:
        ours = frames @ self.texts.goals.T
        others = frames @ self.texts.embeddings.T
        for kind, (places, goal) in enumerate(self._kinds):
            if not len(places):
                continue
            goals, first = np.unique(goal, return_index=True)
            better = others[:, places] > ours[:, goal]
            fooled = np.logical_or.reduceat(better, first, axis=1) & claimed[:, goals]
            self.looked_at[kind, goals] += claimed[:, goals].sum(axis=0)
            self.preferred[kind, goals] += fooled.sum(axis=0)
