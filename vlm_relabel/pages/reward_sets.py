"""One reward set, gathered for the page: its goals, curves, histograms and examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from relabel.evaluation.evidence import Evidence
from schemas import fields
from schemas.manifests import RewardManifest
from schemas.reward_counts import RewardCounts, read_counts
from schemas.store import Store
from vlm_relabel.pages.choices import chosen_goals
from vlm_relabel.pages.examples import FrameExample
from vlm_relabel.pages.grids import Grid
from vlm_relabel.pages.measures import SetMeasure, measure
from vlm_relabel.pages.scans import Scan, sample, scan

KINDS: Final = ("true-high", "true-low", "false-high", "high", "near", "low")
Tell = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class GatheredSet:
    """A reward set with all that the page says of it; lists are in the order of its goals."""

    manifest: RewardManifest
    goal_ids: tuple[str, ...]  # G
    families: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]  # of each goal, as given
    thresholds: tuple[float | None, ...]
    grid: Grid | None  # None: its scores are not stored
    measured: SetMeasure | None  # None: nothing is known to be true
    scanned: Scan
    shown: tuple[int, ...]  # goals that are shown in full

    @property
    def name(self) -> str:
        """Of the reward set."""
        return self.manifest.name

    def examples(self, goal: int) -> list[tuple[str, FrameExample]]:
        """Frames of a goal, each with its kind; what is known to be right or wrong comes first."""
        known = {} if self.measured is None else self.measured.goals[goal].examples
        others = self.scanned.examples.get(goal, {})
        found = known if any(known.values()) else others
        return [(kind, example) for kind in KINDS for example in found.get(kind, [])]

    def summary(self) -> dict[str, Any]:
        """For the overview."""
        function, measured = self.manifest.function, self.measured
        return {
            "name": self.name,
            "goalSet": self.manifest.goals_name,
            "encoder": self.manifest.encoder.name,
            "encoderKey": self.manifest.encoder.key,
            "precisionOfWeights": self.manifest.encoder.precision,
            "function": {k: v for k, v in function.items() if not _is_long(v)},
            "timing": self.manifest.timing.value,
            "fusion": self.manifest.fusion.value,
            "embeddings": self.manifest.embeddings,
            "binary": self.manifest.binary,
            "hasScores": self.manifest.scores,
            "range": self.manifest.score_range,
            "goals": len(self.goal_ids),
            "shown": self.shown,
            "frames": self.scanned.frames,
            "actions": self.scanned.actions,
            "known": measured is not None,
            "precision": None if measured is None else measured.precision,
            "interval": None if measured is None else measured.interval,
            "notes": () if measured is None else measured.notes,
            "silent": int((self.scanned.rewards == 0).sum()),
        }

    def table(self) -> dict[str, Any]:
        """For the table of goals and for the sliders."""
        rows = [self._row(goal) for goal in range(len(self.goal_ids))]
        thresholds = () if self.grid is None else self.grid.thresholds.tolist()
        return {"thresholds": [float(f"{t:.7g}") for t in thresholds], "rows": rows}

    def _row(self, goal: int) -> dict[str, Any]:
        scanned = self.scanned
        row: dict[str, Any] = {
            "threshold": self.thresholds[goal],
            "rewarded": scanned.rewards[goal],
            "missing": scanned.missing[goal],
        }
        if scanned.own is not None:
            row["own"] = scanned.own[goal]
        if scanned.tally is not None and goal in self.shown:
            row["above"] = scanned.tally.claimed[goal]
        if self.measured is not None:
            known = self.measured.goals[goal]
            row |= {"known": known.known, "true": known.true, "precision": known.precision}
            row |= {"interval": known.interval, "ownKnown": known.own}
            if goal in self.shown:
                row |= {"trueAbove": known.true_above, "falseAbove": known.false_above}
        return row

    def detail(self, goal: int) -> dict[str, Any]:
        """Histograms of one goal: of all frames, and of those whose truth is known."""
        found: dict[str, Any] = {}
        if self.grid is not None and self.scanned.tally is not None:
            found = {"low": self.grid.low, "high": self.grid.high}
            found["all"] = self.scanned.tally.histogram[goal]
        if self.measured is not None:
            known = self.measured.goals[goal]
            found["false"], found["true"] = known.histogram
            found["recall"], found["precision"] = known.curve.T
        return found


def _is_long(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 8


def gather_set(
    store: Store,
    manifest: RewardManifest,
    episode_of: Mapping[str, int],
    evidence: Evidence | None,
    *,
    goals: int,
    most: int,
    tell: Tell,
) -> GatheredSet:
    """Reads a reward set, and holds it against what is known.

    Args:
        store: holds it.
        manifest: of the reward set.
        episode_of: place of every episode of the store.
        evidence: what is known to be true; None: nothing.
        goals: to show in full, at most.
        most: examples of a kind.
        tell: told of every slice.
    """
    columns = store.goals(manifest.name)
    own = columns.column(fields.THRESHOLD).to_pylist() if manifest.binary else []
    thresholds = tuple(own) or (None,) * manifest.goals
    texts = fields.PHRASINGS if fields.PHRASINGS in columns.column_names else fields.TEXTS
    counts = read_counts(store, manifest)
    grid = _grid(store, manifest, thresholds, counts) if manifest.scores else None
    measured = None
    if evidence is not None and grid is not None:
        measured = measure(evidence, grid, thresholds, most)
    families = columns.column(fields.FAMILY).to_pylist()
    shown = _shown(families, measured, counts, goals)
    scanned = scan(store, manifest, episode_of, grid, thresholds, show=shown, most=most, tell=tell)
    return GatheredSet(
        manifest,
        tuple(columns.column(fields.GOAL_ID).to_pylist()),
        tuple(families),
        tuple(tuple(one) for one in columns.column(texts).to_pylist()),
        thresholds,
        grid,
        measured,
        scanned,
        tuple(shown),
    )


def _grid(
    store: Store,
    manifest: RewardManifest,
    thresholds: tuple[float | None, ...],
    counts: RewardCounts,
) -> Grid:
    """Thresholds up to the highest score, which no frame is above."""
    own = [threshold for threshold in thresholds if threshold is not None]
    ends = np.append(counts.best, counts.lowest)
    scores = np.append(sample(store, manifest), ends[np.isfinite(ends)]).astype(np.float32)
    return Grid.of(scores, manifest.score_range, own)


def _shown(
    families: list[str], measured: SetMeasure | None, counts: RewardCounts, most: int
) -> list[int]:
    precision = [float("nan")] * len(families)
    if measured is not None:
        precision = [goal.precision for goal in measured.goals]
    return chosen_goals(families, counts.rewarded.tolist(), precision, most)
