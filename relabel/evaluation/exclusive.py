"""What goals claim, frame by frame, and which claims cannot both be right."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.evaluation.claims import ClaimBlock
from relabel.evaluation.evidence import Bools, Ints
from schemas import fields


def exclusive_goals(goals: pa.Table) -> Bools:
    """(G, G) pairs of goals that cannot both hold, as the reward set was told.

    Two goals are exclusive if one is among the recorded negatives of the other. Where no negatives
    are recorded, goals of one family are.

    Args:
        goals: of a reward set, `Store.goals`.
    """
    count = goals.num_rows
    pairs = np.zeros((count, count), bool)
    if fields.NEGATIVES in goals.column_names:
        place = defaultdict(list)
        for goal, texts in enumerate(goals.column(fields.TEXTS).to_pylist()):
            place[" | ".join(texts)].append(goal)
        for goal, negatives in enumerate(goals.column(fields.NEGATIVES).to_pylist()):
            pairs[goal, [other for text in negatives or () for other in place.get(text, ())]] = True
    else:
        families = np.array(goals.column(fields.FAMILY).to_pylist(), object)
        pairs = np.asarray(families[:, None] == families[None])
    pairs |= pairs.T
    np.fill_diagonal(pairs, False)
    return pairs


@dataclass(eq=False)
class ClaimCounts:
    """Figures of the frames seen so far, of G goals."""

    exclusive: Bools  # (G, G)
    frames: int = 0  # that have a score of any goal
    known: Ints = field(init=False)  # (G,) frames that have a score
    claimed: Ints = field(init=False)  # (G,) of these, claimed
    goals_per_frame: Ints = field(init=False)  # (G + 1,) frames by the number of goals that claim
    at_once: int = 0  # frames that two or more exclusive goals claim
    together: NDArray[np.float64] = field(init=False)  # (G, G) frames that both claim

    def __post_init__(self) -> None:
        goals = len(self.exclusive)
        self.known, self.claimed = np.zeros(goals, np.int64), np.zeros(goals, np.int64)
        self.goals_per_frame = np.zeros(goals + 1, np.int64)
        self.together = np.zeros((goals, goals))

    def add(self, block: ClaimBlock) -> None:
        """Counts the frames of a block."""
        known = block.known
        seen = known.any(axis=1)
        self.frames += int(seen.sum())
        self.known += known.sum(axis=0)
        self.claimed += block.claimed.sum(axis=0)
        number = block.claimed.sum(axis=1)
        self.goals_per_frame += np.bincount(number[seen], minlength=len(self.goals_per_frame))
        several = block.claimed[number > 1].astype(np.float32)
        if len(several):
            rivals = several @ self.exclusive.astype(np.float32)
            self.at_once += int((several * rivals > 0).any(axis=1).sum())
            self.together += several.T @ several

    @property
    def mean_goals(self) -> float:
        """Goals that claim a frame, on average; NaN without frames."""
        total = self.goals_per_frame @ np.arange(len(self.goals_per_frame))
        return float(total / self.frames) if self.frames else float("nan")

    def rivals(self) -> list[tuple[int, int, int]]:
        """Exclusive goals i < j that claim frames at once, and how many; most first."""
        both = np.triu(np.where(self.exclusive, self.together, 0)).astype(np.int64)
        i, j = np.nonzero(both)
        order = np.argsort(-both[i, j], kind="stable")
        columns = (i[order].tolist(), j[order].tolist(), both[i, j][order].tolist())
        return list(zip(*columns, strict=True))
