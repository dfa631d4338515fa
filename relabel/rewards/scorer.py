"""The rewards themselves: from embeddings of frames and prompts to scores and rewards.

A score belongs to a frame, a reward to the action between two frames:

    frame            o_0 --a_0--> o_1 --a_1--> o_2 ...  --> o_{T-1}
    score            s_0          s_1          s_2          s_{T-1}
    next-frame       r_0 of s_1   r_1 of s_2   ...          none
    same-frame       r_0 of s_0   r_1 of s_1   ...          r_{T-1} of s_{T-1}

`bind` ties a reward function to a goal set and an encoder. `Scorer.scores` compares frames
with prompts and hands the cosines to the function's formula. `Scorer.rewards` turns scores into
rewards as the function says.

All arithmetic is float32, on blocks of `BLOCK_FRAMES` frames counted from the first row of a
call. The same call gives the same bytes; splitting its rows over several calls may change
the last bits, since BLAS rounds a row by its place in the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from relabel.goals.prompts import Prompts
from relabel.rewards.base import (
    Binding,
    Floats,
    Formula,
    Range,
    RewardFunction,
    score_frames,
)
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.window_mean import Embeddings, windowed
from schemas.encoders import EncoderSpec
from schemas.enums import Fusion, Timing
from schemas.errors import RewardError
from schemas.goal_datasets import effective_timing
from schemas.goals import GoalSet

BLOCK_FRAMES: Final = 512  # a block's cosines with 100 prompts of a family stay in the L2 cache


@dataclass(frozen=True, eq=False)
class Rewarder:
    """The second half of a scorer: from scores to rewards."""

    function: RewardFunction  # with the numbers used in place of every None
    timing: Timing  # as effective: a potential difference looks ahead
    threshold: Floats | None  # (G,) as compared with the float32 scores; None: there are none
    goals: int  # G

    @property
    def binary(self) -> bool:
        """Whether every reward is 0 or 1."""
        return self.threshold is not None

    @property
    def score_range(self) -> Range:
        """Closed interval that every score lies in."""
        return self.function.score_range

    @property
    def reward_range(self) -> Range:
        """Closed interval that every reward lies in."""
        return self.function.reward_range

    def rewards(self, scores: Floats, lengths: ArrayLike) -> Floats:
        """Reward of every action for every goal.

        Args:
            scores: (T, G) float32 as `scores` gave and a reward table stores them.
            lengths: (E,) frames of each episode, summing to T.

        Returns:
            (T, G) float32 within `reward_range`; NaN where the reward would look at a frame
            that does not exist or has no score.

        Raises:
            RewardError: shapes that do not fit each other or the goal set.
        """
        ages = ages_of(lengths)
        if scores.shape != (len(ages), self.goals):
            raise RewardError(
                f"scores: expected shape ({len(ages)}, {self.goals}) (sum of lengths, goals), "
                f"got {scores.shape}"
            )
        looked_at = _next(scores, ages) if self.timing is Timing.NEXT_FRAME else scores
        rewards = self.function.rewards(looked_at, scores, self.threshold)
        return rewards.copy() if np.may_share_memory(rewards, scores) else rewards


@dataclass(frozen=True, eq=False)
class Scorer(Rewarder):
    """A reward function bound to a goal set and its embedded prompts: arithmetic only."""

    fusion: Fusion
    temperature: NDArray[np.float64] | None  # (G,) as used; None: the function has none
    formula: Formula
    skip_missing: bool = False  # cameras that miss a frame do not count; else it has no score

    def scores(self, cameras: Sequence[Embeddings], lengths: ArrayLike) -> Floats:
        """Score of every frame for every goal.

        Each camera is scored by itself, then the scores are fused. A frame that any camera
        misses has no score, because a mean or maximum over fewer cameras would not be
        comparable with its neighbours', unless `skip_missing` asks for just that.

        Args:
            cameras: per camera (T, D) float16 or float32, unit norm, the frames of whole
                episodes in order; a row with a NaN is a missing embedding.
            lengths: (E,) frames of each episode, summing to T.

        Returns:
            (T, G) float32 within `score_range`, NaN where an embedding that the score looks
            at is missing (with `skip_missing`, of every camera). About 4 * BLOCK_FRAMES *
            (G + C + D) bytes are used beside it.

        Raises:
            RewardError: shapes that do not fit each other or the encoder.
        """
        ages = ages_of(lengths)
        self._check(cameras, len(ages))
        out = np.empty((len(ages), self.goals), np.float32)
        for start in range(0, len(ages), BLOCK_FRAMES):
            rows = slice(start, min(start + BLOCK_FRAMES, len(ages)))
            self._score_block(cameras, ages, rows, out[rows])
            out[rows] = self.function.finished(out[rows])
        return out

    def _check(self, cameras: Sequence[Embeddings], frames: int) -> None:
        expected = (frames, self.formula.prompts.shape[1])
        wrong = [(i, c.shape) for i, c in enumerate(cameras) if c.shape != expected]
        if wrong or not cameras:
            raise RewardError(
                f"embeddings: expected one or more cameras of shape {expected} (sum of lengths, "
                f"encoder's dim), got {wrong or 'no camera'} (camera, shape)"
            )

    def _score_block(
        self, cameras: Sequence[Embeddings], ages: NDArray[np.int64], rows: slice, out: Floats
    ) -> None:
        if self.skip_missing:
            self._score_those_there(cameras, ages, rows, out)
            return
        self._score_camera(windowed(cameras[0], ages, rows, self.function.frames_seen), out)
        for camera in cameras[1:]:
            score = np.empty_like(out)
            self._score_camera(windowed(camera, ages, rows, self.function.frames_seen), score)
            (np.add if self.fusion is Fusion.MEAN else np.maximum)(out, score, out=out)
        if self.fusion is Fusion.MEAN and len(cameras) > 1:
            out /= np.float32(len(cameras))

    def _score_those_there(
        self, cameras: Sequence[Embeddings], ages: NDArray[np.int64], rows: slice, out: Floats
    ) -> None:
        """Fuses the scores of the cameras that have the frame; NaN where none has it."""
        scores = np.empty((len(cameras), *out.shape), np.float32)
        for camera, score in zip(cameras, scores, strict=True):
            self._score_camera(windowed(camera, ages, rows, self.function.frames_seen), score)
        if self.fusion is Fusion.MAX:
            np.fmax.reduce(scores, axis=0, out=out)
            return
        there = (~np.isnan(scores)).sum(axis=0).astype(np.float32)
        out[:] = np.nan
        np.divide(np.nansum(scores, axis=0), there, out=out, where=there > 0)

    def _score_camera(self, frames: Floats, out: Floats) -> None:
        missing = np.isnan(frames).any(axis=1)
        frames[missing] = 0  # keeps NaN out of the formulas
        score_frames(self.formula, frames, out)
        out[missing] = np.nan


def ages_of(lengths: ArrayLike) -> NDArray[np.int64]:
    """(T,) number of earlier frames in the same episode."""
    counts = np.asarray(lengths, dtype=np.int64)
    if counts.ndim != 1 or (counts < 1).any():
        raise RewardError(f"lengths: expected whole numbers >= 1, one per episode, got {counts}")
    starts = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(starts, counts)


def _next(values: Floats, ages: NDArray[np.int64]) -> Floats:
    """(T, G) value at the next frame of the same episode; NaN at its last frame."""
    shifted = np.full_like(values, np.nan)
    shifted[:-1] = values[1:]
    shifted[np.flatnonzero(ages[1:] == 0)] = np.nan
    return shifted


def bind(
    function: RewardFunction,
    goals: GoalSet,
    prompts: Prompts,
    prompt_embeddings: Floats,
    spec: EncoderSpec,
    *,
    timing: Timing = Timing.NEXT_FRAME,
    fusion: Fusion = Fusion.MEAN,
    norms: Floats | None = None,
    head: HeadWeights | None = None,
) -> Scorer:
    """Ties a reward function to a goal set and an encoder.

    A goal's own temperature and threshold replace the function's, where it has them.

    Args:
        function: as `parse_reward` gives; parameters left out come from `spec`.
        goals: the goal set.
        prompts: its prompts, from `relabel.goals.readings`.
        prompt_embeddings: (P, D) float32 unit norm, likewise.
        spec: the encoder of prompts and frames.
        timing: which frame a reward looks at.
        fusion: how several cameras' scores become one.
        norms: (P,) of the averages that the prompts' embeddings are made of; `vlm-rm` needs them.
        head: what labels taught; `head` needs it.

    Raises:
        GoalError: goals without the negatives or the baseline that the function needs.
        RewardError: an encoder without the constant it needs, shapes that do not fit, or no norms.
    """
    expected = (len(prompts.texts), spec.dim)
    if prompt_embeddings.shape != expected or len(prompts.goal) != len(goals.goals):
        raise RewardError(
            f"prompt embeddings of {len(goals.goals)} goals: expected shape {expected} (prompts, "
            f"encoder's dim) and one prompt per goal, got {prompt_embeddings.shape} and "
            f"{len(prompts.goal)}"
        )
    resolved = function.resolved(spec)
    return Scorer(
        function=resolved,
        timing=effective_timing(resolved.model_dump(), Timing(timing)),
        fusion=Fusion(fusion),
        temperature=resolved.temperatures(goals),
        threshold=resolved.thresholds(goals),
        goals=len(goals.goals),
        formula=_formula(resolved, Binding(goals, prompts, prompt_embeddings, spec, norms, head)),
    )


def _formula(function: RewardFunction, binding: Binding) -> Formula:
    """Refuses what a class of the user's own may get wrong before a table is written."""
    for what, (low, high) in (("score", function.score_range), ("reward", function.reward_range)):
        if not (np.isfinite([low, high]).all() and low < high):
            raise RewardError(
                f"reward {function.path!r}: expected {what}_range to be two finite numbers, the "
                f"lower one first, got {low} and {high}"
            )
    formula = function.bind(binding)
    found = np.shape(formula.prompts)
    if len(found) != 2 or found[1] != binding.spec.dim:
        raise RewardError(
            f"reward {function.path!r}: expected its formula to have prompts of shape (C, "
            f"{binding.spec.dim}), C of any number and the encoder's dim, got {found}"
        )
    return formula
