"""`head`: the zero-shot score, corrected by what a few labelled frames say.

Per goal l with labelled frames, and with the score s(f) inside, of range [low, high]:

    s'(f) = (1 - blend) s(f) + blend (low + (high - low) q(f))

and, where s is a probability, in its place

    1 / (1 + exp(-(slope log(s' / (1 - s')) + shift_l)))

since a blend of two probabilities is none: without it the scores of goals with a head would mean
something else than those of goals that keep zero-shot. It changes no goal's order of frames.

    cached    q(f) = sum over positives x of exp(k f.x) / sum over all labels x of exp(k f.x)
    linear    q(f) = 1 / (1 + exp(-(f.w + b)))

f is the embedding of a frame, x that of a labelled one. The cached head is that of Tip-Adapter
(Zhang et al. 2022, arXiv 2207.09519) with the labels of one goal alone, so that q is a share; the
linear probe is that of Radford et al. 2021 (arXiv 2103.00020, section 3.2). A goal without a head
keeps its score to the bit. `relabel.heads` makes heads of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from relabel.rewards.base import Binding, Floats, Formula, Range, RewardFunction, score_frames
from relabel.rewards.curves import Doubles, log_odds, sigmoid
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.wrapper import Wrapper
from schemas.errors import RewardError

HeadKind = Literal["cached", "linear"]


class Head(Wrapper, name="head"):
    """Score of `of`, blended per goal with a cached or linear head that labels taught.

        s' = (1 - blend) s + blend (low + (high - low) q)

    with q in [0, 1] from the labelled frames (`relabel.rewards.head`), and [low, high] the range of
    s. The weights lie beside the reward set; their hash is a parameter. Rewards are made of s' as
    `of` makes them of s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)  # lists, as JSON has them

    kind: HeadKind
    goals: tuple[int, ...]  # places of those that have a head
    strength: float = Field(gt=0, allow_inf_nan=False, description="a finite number > 0")
    slope: float = Field(1.0, gt=0, allow_inf_nan=False, description="a finite number > 0")
    shifts: tuple[float, ...] = ()  # of log-odds, one per goal with a head; (): scores stay as are
    labels: str  # SHA-256 of the labels
    weights: str  # SHA-256 of what they taught

    def bind(self, binding: Binding) -> Formula:
        """For these goals, with the weights of the binding.

        Raises:
            RewardError: the weights are not there, or are others.
        """
        inside, head = self.of.bind(binding), binding.head
        if head is None:
            raise RewardError(
                f"reward {self.path!r}: expected the weights that labels gave it, got none; score "
                "with --head and --labels, which make them"
            )
        width = (len(binding.goals.goals), binding.spec.dim)
        own = tuple(head.goal[head.starts].tolist())
        told = own == self.goals and len(self.shifts) in (0, len(own))
        if head.sha256 != self.weights or not told or not _fits(head, *width):
            raise RewardError(
                f"reward {self.path!r}: expected the weights {self.weights[:8]}… for {width[0]} "
                f"goals of {width[1]} numbers, got {head.sha256[:8]}…; score again with --overwrite"
            )
        if not len(head.goal):
            return inside
        return HeadFormula(inside, head, self.kind, self.strength, self.score_range)

    def finished(self, scores: Floats) -> Floats:
        """As inside, those of goals with a head on their scale of log-odds."""
        scores = self.of.finished(scores)
        if not self.shifts:
            return scores
        found, goals = scores.copy(), list(self.goals)
        found[:, goals] = stretched(scores[:, goals], self.slope, np.array(self.shifts))
        return found


def _fits(head: HeadWeights, goals: int, dim: int) -> bool:
    inside = not len(head.goal) or (head.goal.min() >= 0 and head.goal.max() < goals)
    return head.rows.shape[1] == dim and bool(inside)


@dataclass(frozen=True, eq=False)
class HeadFormula:
    """The formula inside, and then the goals that have a head.

    Frames are compared with the prompts in a matrix product of their own: with more columns in it
    the last bits of the scores of all other goals could change.
    """

    inside: Formula
    head: HeadWeights
    kind: HeadKind
    strength: float
    range: Range

    @property
    def prompts(self) -> Floats:
        """(C + R, D) those inside, and the rows of the head."""
        return np.concatenate([self.inside.prompts, self.head.rows])

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        split = cosines.shape[1] - len(self.head.rows)
        products = np.ascontiguousarray(cosines[:, split:])
        self.inside(np.ascontiguousarray(cosines[:, :split]), out)
        self._blend(products, out)

    def score(self, frames: Floats, out: Floats) -> None:
        """As `FrameFormula`."""
        score_frames(self.inside, frames, out)
        self._blend(frames @ self.head.rows.T, out)

    def _blend(self, products: Floats, out: Floats) -> None:
        starts = self._starts
        share = head_values(self.kind, self.strength, self.head, products, starts)
        goals, blend = self.head.goal[starts], self.head.blend[starts]
        out[:, goals] = blended(out[:, goals], share, blend, self.range)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return self.head.starts


def blended(scores: Floats, share: Floats, blend: Floats | np.float32, bounds: Range) -> Floats:
    """Scores (…) and the head's q (…) as one score, within the bounds."""
    low, high = map(np.float32, bounds)
    one = np.float32(1)
    mixed = (one - blend) * scores + blend * (low + (high - low) * share)
    return np.asarray(np.clip(mixed, low, high), np.float32)


def stretched(scores: Floats, slope: float, shift: float | Doubles) -> Floats:
    """Probabilities (…) on another scale of log-odds."""
    return sigmoid(slope * log_odds(scores) + shift).astype(np.float32)


def head_values(
    kind: HeadKind,
    strength: float,
    head: HeadWeights,
    products: Floats,
    starts: NDArray[np.int64],
) -> Floats:
    """q of n frames for the A goals of a head, (n, A) in [0, 1].

    Args:
        kind: of the head.
        strength: k of a cached head.
        head: its R rows.
        products: (n, R) of frames and rows.
        starts: (A,) of the head.
    """
    if kind == "linear":
        return _sigmoid(products + head.bias)
    negative = np.flatnonzero(~head.positive & np.append(True, head.positive[:-1]))
    edges = np.stack([starts, negative], axis=1).reshape(-1)  # positives and negatives in turn
    counts = np.diff(np.append(starts, len(head.goal)))
    highest = np.maximum.reduceat(products, starts, axis=1)
    weights = products - np.repeat(highest, counts, axis=1)
    weights *= np.float32(strength)
    sums = np.add.reduceat(np.exp(weights, out=weights), edges, axis=1)
    return np.asarray(sums[:, ::2] / (sums[:, ::2] + sums[:, 1::2]))


def _sigmoid(logits: Floats) -> Floats:
    decay = np.exp(-np.abs(logits))  # at most 1, so neither tail overflows
    return np.asarray(np.where(logits >= 0, np.float32(1), decay) / (1 + decay))


# --- in a reward function ---------------------------------------------------------------------


def with_head(function: RewardFunction, **told: Any) -> RewardFunction:
    """The same reward function with a head around its base; other wrappers stay outside.

    Args:
        function: without a head.
        **told: parameters of the head.
    """
    if isinstance(function, Wrapper):
        return function.model_copy(update={"of": with_head(function.of, **told)})
    return Head(of=function, **told)


def has_head(function: RewardFunction) -> bool:
    """Whether there is a head in a reward function."""
    inside = isinstance(function, Wrapper) and has_head(function.of)
    return isinstance(function, Head) or inside
