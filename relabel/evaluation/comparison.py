"""Reward sets of one store side by side: which of them tells best what is true, and how surely.

Every number of a reward set is over frames and episodes of the store, goal by goal; means are over
the goals that all of the compared sets have. Intervals come from episodes drawn with replacement,
the same draws for every set and goal, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from relabel.evaluation.agreement import sampled_rows
from relabel.evaluation.comparison_report import Comparison
from relabel.evaluation.evidence import Evidence, Floats, Ints, Tell, scored
from relabel.evaluation.measured import Measured
from relabel.evaluation.measures import (
    Precision,
    PrecisionOf,
    auc_measured,
    control_frames,
    order_measured,
)
from relabel.evaluation.metrics import DRAWS, episode_weights
from relabel.evaluation.score_blocks import CONTROLS, Block, control_blocks, score_blocks
from relabel.evaluation.successes import Successes, successes_of_scores
from relabel.evaluation.truth import Truth, episodes_of, expect_labels
from relabel.evaluation.whole_episodes import (
    WholeEpisodes,
    chosen_successes,
    read_whole_episodes,
)
from schemas import fields
from schemas.errors import StoreError
from schemas.manifests import RewardManifest
from schemas.store import Store

TellOf = Callable[[str], Tell]  # what is being done -> whom to tell how far it is
LISTED: Final = 10  # frames that the sets disagree on


def silent(what: str) -> Tell:
    """Tells nobody."""
    return lambda done, total: None


@dataclass(frozen=True, eq=False)
class OpenedSet:
    """One reward set and its G goals."""

    manifest: RewardManifest
    goal_ids: tuple[str, ...]
    families: tuple[str, ...]
    thresholds: Floats  # (G,) NaN: none

    @property
    def name(self) -> str:
        """Of the reward set."""
        return self.manifest.name


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of one set of scores, those of a reward set or of a control."""

    name: str
    of: OpenedSet  # whose goals and frames
    precision: Precision | None  # None: nothing is known to be true
    auc: Measured | None
    order: Measured | None
    orders: int  # successful episodes whose order was looked at, summed over goals
    by: str | None  # who says which episodes succeed
    sample: Floats  # (S, G) scores of the sampled frames
    notes: tuple[str, ...] = ()

    @property
    def is_control(self) -> bool:
        """Whether it is no reward set."""
        return self.name != self.of.name


def compare_rewards(
    store: Store,
    rewards: Sequence[str],
    truth: Truth,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    listed: int = LISTED,
    tricks: bool = False,
    tell: TellOf = silent,
) -> Comparison:
    """Compares reward sets; reads their scores and what is true, and no frame.

    Args:
        store: holds them.
        rewards: names, each once; controls are measured on the goals of the first.
        truth: labels, a column or nothing. Without it there is no average precision and no AUC.
        draws: of episodes, for intervals.
        seed: of the draws, and of samples.
        listed: number of frames to list that the sets disagree on most.
        tricks: also try the tricks of `relabel.evaluation.tricks` on every set.
        tell: is told what is being done.

    Raises:
        StoreError: no such reward set, unfinished or without scores; no goal that all of them have.
        LabelError: no label is of a frame and a goal that have a score.
    """
    from relabel.evaluation.comparison_figures import report
    from relabel.evaluation.trick_table import tricks_of

    sets = [opened(store, name) for name in rewards]
    common = common_goals(store, sets)
    work = Measuring(store, truth, draws, seed, tell)
    known = [work.evidence(one) for one in sets]
    if truth.labels is not None:
        expect_labels(store, [evidence for evidence in known if evidence is not None])
    found = [
        each
        for place, (one, evidence) in enumerate(zip(sets, known, strict=True))
        for each in work.findings(one, evidence, not place)
    ]
    told = report(work, found, common, listed)
    if not tricks:
        return told
    rows, notes = tricks_of(work, sets, common)
    return told.model_copy(update={"tricks": tuple(rows), "notes": (*told.notes, *notes)})


def opened(store: Store, name: str) -> OpenedSet:
    """A complete reward set that has scores.

    Raises:
        StoreError: it is not that.
    """
    manifest = scored(store, name)
    table = store.goals(name, [fields.GOAL_ID, fields.FAMILY, fields.THRESHOLD])
    ids, families = (table.column(key).to_pylist() for key in (fields.GOAL_ID, fields.FAMILY))
    thresholds = table.column(fields.THRESHOLD).to_numpy(zero_copy_only=False)
    return OpenedSet(manifest, tuple(ids), tuple(families), np.array(thresholds, np.float32))


def common_goals(store: Store, sets: Sequence[OpenedSet]) -> tuple[str, ...]:
    """Ids of the goals that all sets have, in the order of the first.

    Raises:
        StoreError: there are none.
    """
    shared = set(sets[0].goal_ids).intersection(*(one.goal_ids for one in sets[1:]))
    if not shared:
        told = "; ".join(f"{one.name} has {', '.join(one.goal_ids[:3])}" for one in sets)
        raise StoreError(
            f"{store.location}: expected reward sets with goals in common, matched by id; {told}; "
            "name those to compare with --rewards"
        )
    return tuple(goal for goal in sets[0].goal_ids if goal in shared)


class Measuring:
    """What is done with one reward set after the other."""

    def __init__(self, store: Store, truth: Truth, draws: int, seed: int, tell: TellOf) -> None:
        self.store, self.truth, self.seed, self.tell = store, truth, seed, tell
        self.episode_ids, self.lengths = episodes_of(store)
        self.weights = episode_weights(len(self.episode_ids), draws, seed)
        self.rows: Ints = sampled_rows(int(self.lengths.sum()), seed)

    @property
    def draws(self) -> int:
        """B."""
        return len(self.weights)

    def evidence(self, one: OpenedSet) -> Evidence | None:
        """What is known of a reward set; None: nothing is."""
        told = self.tell(f"{one.name}: precision and recall")
        return self.truth.evidence(self.store, one.name, tell=told)

    def findings(
        self, one: OpenedSet, evidence: Evidence | None, controls: bool
    ) -> Iterator[Findings]:
        """Of a reward set beside what is known of it, and of the controls on its goals."""
        names = (one.name, *(CONTROLS if controls else ()))
        precision, notes = self._precision(one, evidence, names)
        successes = self._successes(one)
        chosen = None if successes is None else chosen_successes(successes, self.seed)
        shape = (len(self.episode_ids), len(one.goal_ids))
        for name in names:
            read = read_whole_episodes(self._blocks(one, name), shape, chosen, self.rows)
            known = self.truth.is_known and successes is not None
            yield Findings(
                name,
                one,
                precision.get(name),
                self._auc(name, read, successes) if known and successes else None,
                None if chosen is None else order_measured(read, shape[1], self.weights),
                len(read.orders.tau),
                None if successes is None else successes.by,
                read.sample,
                notes if name == one.name else (),
            )

    def _precision(
        self, one: OpenedSet, evidence: Evidence | None, names: Sequence[str]
    ) -> tuple[dict[str, Precision], tuple[str, ...]]:
        """By name; and what was set aside."""
        if evidence is None:
            return {}, ()
        found = {name: PrecisionOf(self.weights, self.seed) for name in names}
        for frames in evidence:
            found[one.name].add(frames)
            for control in CONTROLS:
                if control in names[1:]:
                    own = control_frames(frames, control, self.lengths, self.seed)
                    found[control].add(own)
        return {name: each.whole() for name, each in found.items()}, evidence.notes

    def _successes(self, one: OpenedSet) -> Successes | None:
        """When episodes succeed: by what is true, else by the set itself, else nobody knows."""
        told = self.tell(f"{one.name}: when episodes succeed")
        episodes = (self.episode_ids, self.lengths)
        if self.truth.is_known:
            return self.truth.successes(self.store, one.goal_ids, episodes, told)
        if np.isnan(one.thresholds).all():
            return None
        blocks = score_blocks(self.store, one.name, tell=told)
        return successes_of_scores(blocks, one.thresholds, len(self.episode_ids))

    def _auc(self, name: str, read: WholeEpisodes, successes: Successes) -> Measured:
        tell = self.tell(f"{name}: episode AUC")
        return auc_measured(read, successes, self.weights, tell)

    def _blocks(self, one: OpenedSet, name: str) -> Iterator[Block]:
        told = self.tell(f"{name}: whole episodes")
        blocks = score_blocks(self.store, one.name, self.truth.where, told)
        for control in CONTROLS:
            if name == control and name != one.name:
                return control_blocks(blocks, control, self.seed)
        return blocks

    def episodes_at(self, rows: Ints) -> Ints:
        """Places of the episodes of some rows of the store."""
        return np.searchsorted(np.cumsum(self.lengths), rows, "right")

    def frames_at(self, places: Ints) -> list[tuple[str, int]]:
        """Episode and step of some of the sampled frames."""
        rows = self.rows[places]
        episodes = self.episodes_at(rows)
        steps = rows - (np.cumsum(self.lengths) - self.lengths)[episodes]
        named = (self.episode_ids[place] for place in episodes)
        return list(zip(named, steps.tolist(), strict=True))
