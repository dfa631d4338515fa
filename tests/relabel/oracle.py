"""Slow, obvious float64 versions of every formula, one frame and one goal at a time.

Written from the papers, not from `relabel`: explicit vectors, explicit loops, no shortcuts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Vector = np.ndarray  # (D,)
Score = Callable[[Vector, int], float]  # (frame embedding, goal) -> score


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def probability(f: Vector, goal: Vector, negatives: Sequence[Vector], tau: float) -> float:
    """Eq. 1 of arXiv 2312.09187, divided through by exp(f.g / tau)."""
    own = float(f @ goal) / tau
    total = 1.0
    for negative in negatives:
        exponent = float(f @ negative) / tau - own
        total += math.inf if exponent > 700 else math.exp(exponent)
    return 1.0 / total


def goal_baseline(f: Vector, goal: Vector, baseline: Vector, alpha: float) -> float:
    """Definition 1 of arXiv 2310.12921, by projecting f on the line and taking the norm."""
    direction = (goal - baseline) / np.linalg.norm(goal - baseline)
    projected = baseline + ((f - baseline) @ direction) * direction
    mixed = alpha * projected + (1 - alpha) * f
    return 1 - 0.5 * float(np.linalg.norm(mixed - goal)) ** 2


def sigmoid(f: Vector, goal: Vector, scale: float, bias: float) -> float:
    logit = scale * float(f @ goal) + bias
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def window(frames: np.ndarray, k: int) -> np.ndarray:
    """(T, D) of one episode -> (T, D) normalised mean over the last k frames.

    A window of one is the frame as stored, which float16 leaves a little off unit norm.
    """
    if k == 1:
        return frames
    out = np.empty(frames.shape)
    for t in range(len(frames)):
        seen = [frames[i] for i in range(t - k + 1, t + 1) if i >= 0]
        out[t] = unit(np.mean(np.array(seen, dtype=np.float64), axis=0))
    return out


def scores(
    cameras: Sequence[np.ndarray],
    lengths: Sequence[int],
    goals: int,
    score: Score,
    k: int,
    mean: bool,
) -> np.ndarray:
    """(T, G) fused score; NaN where any camera misses the frame or one in its window."""
    out = np.empty((sum(lengths), goals))
    start = 0
    for length in lengths:
        episode = [window(camera[start : start + length], k) for camera in cameras]
        for t in range(length):
            for goal in range(goals):
                each = [_or_nan(frames[t], goal, score) for frames in episode]
                out[start + t, goal] = sum(each) / len(each) if mean else _strict_max(each)
        start += length
    return out


def _or_nan(frame: Vector, goal: int, score: Score) -> float:
    return math.nan if np.isnan(frame).any() else score(frame, goal)


def _strict_max(values: Sequence[float]) -> float:
    return math.nan if any(math.isnan(v) for v in values) else max(values)


def rewards(
    scores: np.ndarray,
    lengths: Sequence[int],
    *,
    thresholds: np.ndarray | None,
    next_frame: bool,
    difference: bool,
) -> np.ndarray:
    """(T, G) reward of the action at each frame, from the scores of all frames."""
    out = np.full(scores.shape, math.nan)
    start = 0
    for length in lengths:
        for t in range(start, start + length):
            is_last = t == start + length - 1
            for goal in range(scores.shape[1]):
                if difference:
                    if not is_last:
                        out[t, goal] = scores[t + 1, goal] - scores[t, goal]
                elif not next_frame or not is_last:
                    seen = scores[t + 1 if next_frame else t, goal]
                    if thresholds is None or math.isnan(seen):
                        out[t, goal] = seen
                    else:
                        out[t, goal] = 1.0 if seen > thresholds[goal] else 0.0
        start += length
    return out
