"""Weights of transitions by the progress that they make: RA-BC (Chen et al. 2025, 2509.25358)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline_rl.outcomes import Floats, Ints, Trajectories
from offline_rl.scores import stored_scores
from schemas.errors import StoreError
from schemas.goal_basis import basis
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store

_EPSILON: Final = 1e-8


@dataclass(frozen=True)
class ScoreProgress:
    """How progress is measured, and what it weighs; see `learners.ra_bc`."""

    horizon: int  # Δ, steps, at least 1; fewer at a trajectory's end
    kappa: float  # κ, of a score

    def weights(
        self, store: Store, dataset: GoalDatasetManifest, rows: Trajectories, last: Ints
    ) -> Floats:
        """(N,) weights in [0, 1] of the transitions of some trajectories.

        Args:
            store: of the dataset.
            dataset: its manifest.
            rows: the trajectories, over the frames of the whole store.
            last: (R,) last frame of the episode of each.

        Raises:
            StoreError: there are no scores, or some are missing.
        """
        made_of = basis(store, dataset)
        if made_of.column is None and (made_of.rewards is None or not made_of.rewards.scores):
            raise StoreError(
                f"{store.location}/{dataset.table}: ra-bc weighs by scores, and {made_of.name} has "
                "none; score again without --no-scores, and build the dataset of that"
            )
        frame = np.repeat(rows.first, rows.count) + rows.within
        goal = np.repeat(rows.goal, rows.count)
        end = np.repeat(np.minimum(rows.first + rows.count, last), rows.count)
        later = np.minimum(frame + self.horizon, end)
        scores = stored_scores(store, made_of, np.append(later, frame), np.append(goal, goal))
        progress = scores[: len(frame)].astype(np.float64) - scores[len(frame) :]
        if missing := int(np.isnan(progress).sum()):
            raise StoreError(
                f"{store.location}/{dataset.table}: {missing} transitions have no score before or "
                "after them, since a frame could not be decoded; build the dataset again without "
                "their episodes (--episode '!ID')"
            )
        return progress_weights(progress, np.repeat(rows.weight, rows.count), self.kappa)


def progress_weights(
    progress: NDArray[np.float64], drawn: NDArray[np.float64], kappa: float
) -> Floats:
    """(N,) w of progress p (N,): 1 above κ, between 0 and κ by how usual it is, 0 below 0.

    Args:
        progress: p.
        drawn: (N,) how often each is drawn; μ and σ are those of what is.
        kappa: κ.
    """
    mean = np.average(progress, weights=drawn)
    std = np.sqrt(np.average((progress - mean) ** 2, weights=drawn))
    soft = np.clip((progress - (mean - 2 * std)) / (4 * std + _EPSILON), 0, 1)
    weights = np.where(progress > kappa, 1.0, np.where(progress >= 0, soft, 0.0))
    return weights.astype(np.float32)
