"""The kinds of heads, and what each learns of one goal's labelled frames."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.rewards.base import Floats
from relabel.rewards.head import HeadKind, head_values
from relabel.rewards.head_weights import HeadWeights

# cached: how steeply a frame's say falls with its distance. linear: how little the plane is held
# back, C of scikit-learn's LogisticRegression.
STRENGTHS: Final[dict[HeadKind, tuple[float, ...]]] = {
    "linear": (1.0, 10.0, 100.0),
    "cached": (5.0, 10.0, 20.0, 40.0),
}
_STEPS: Final = 100
_CLOSE: Final = 1e-10

Doubles = NDArray[np.float64]


def learned(
    kind: HeadKind,
    strength: float,
    frames: Floats,
    label: NDArray[np.bool_],
    goal: int = 0,
    blend: float = 1,
) -> HeadWeights:
    """The head of one goal.

    Args:
        kind: of head.
        strength: of that kind.
        frames: (n, D) of unit norm.
        label: (n,) both yes and no are there.
        goal: place on the goal axis.
        blend: share of the head in the score.
    """
    if kind == "linear":
        normal, bias = logistic(frames.astype(np.float64), label, strength)
        rows, offsets = normal[None].astype(np.float32), np.array([bias], np.float32)
        positive = np.ones(1, bool)
    else:
        order = np.argsort(~label, kind="stable")  # positives first
        rows, positive, offsets = frames[order], label[order], np.zeros(len(label), np.float32)
    count = len(rows)
    return HeadWeights(
        np.full(count, goal, np.int32), np.full(count, blend, np.float32), positive, offsets, rows
    )


def values(kind: HeadKind, strength: float, head: HeadWeights, frames: Floats) -> Floats:
    """(n,) q of frames (n, D) for the one goal of a head; NaN where a frame is missing."""
    found = head_values(kind, strength, head, frames @ head.rows.T, head.starts)[:, 0]
    return np.where(np.isnan(frames).any(axis=1), np.float32(np.nan), found)


def logistic(frames: Doubles, label: NDArray[np.bool_], strength: float) -> tuple[Doubles, float]:
    """Logistic regression held back by |w|^2, yes and no of equal weight together.

    The minimum of |w|^2 / 2 + strength sum of v log(1 + exp(-t (x.w + b))) over labelled frames x,
    with t = 1 or -1 and v = n / (2 n of the same label); by Newton's method with halved steps, to
    the last bits, so that the same labels give the same numbers however the machine adds up.

    Args:
        frames: (n, D).
        label: (n,) both yes and no are there.
        strength: C.

    Returns:
        w (D,) and b.
    """
    # w lies in the span of the frames: n numbers are enough where there are fewer than D.
    basis, coordinates = np.linalg.qr(frames.T)  # (D, m), (m, n)
    points = np.append(coordinates, np.ones((1, len(label))), axis=0)  # (m + 1, n)
    held = np.append(np.ones(len(coordinates)), 0)
    sign = np.where(label, 1.0, -1.0)
    weight = strength * np.where(label, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    solution = np.zeros(len(held))

    def loss(at: Doubles) -> float:
        return float(
            (held * at**2).sum() / 2 + (weight * np.logaddexp(0, -sign * (at @ points))).sum()
        )

    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(solution @ points, -500, 500)))
        slope = held * solution + points @ (weight * (p - label))
        curve = (points * (weight * p * (1 - p))) @ points.T + np.diag(held)
        curve[-1, -1] += 1e-12
        step = np.linalg.solve(curve, slope)
        size, before = 1.0, loss(solution)
        while loss(solution - size * step) > before and size > _CLOSE:
            size /= 2
        solution = solution - size * step
        if np.abs(size * step).max() < _CLOSE:
            break
    return np.asarray(basis @ solution[:-1]), float(solution[-1])
